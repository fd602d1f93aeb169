"""What init takes for an address."""

import json
import os
import subprocess
import sys

import pytest

import _weft

PROGRAM = """
import sys
import weft as ray
address, options = eval(sys.argv[1])
try:
    ray.init(address, log_to_driver=False, **options)
    print(ray.get_runtime_context().get_node_id())
except Exception as e:
    print(type(e).__name__, e)
"""


@pytest.fixture
def machine(tmp_path_factory):
    """Starts the node of a user who has none, ends it, and runs programs beside it."""
    run = str(tmp_path_factory.mktemp("r"))
    env = {k: v for k, v in os.environ.items() if k not in ("WEFT_ADDRESS", "RAY_ADDRESS")} | {"XDG_RUNTIME_DIR": run}

    class Machine:
        folder = os.path.join(run, "weft")

        def weft(self, *args):
            return subprocess.run([_weft.find(), *args], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

        def start(self):
            return json.loads(self.weft("start", "--detach", "--cpus=1", "--format=json"))["node"]

        def init(self, address=None, **more):
            options = {k: v for k, v in more.items() if k.islower()}
            given = env | {k: v for k, v in more.items() if k.isupper()}
            out = subprocess.run([sys.executable, "-c", PROGRAM, repr((address, options))], env=given, stdout=subprocess.PIPE, text=True)
            return out.stdout.strip()

    made = Machine()
    yield made
    if os.path.exists(os.path.join(made.folder, "weft.sock")):
        made.weft("stop", "--now")


def test_a_started_node_is_found(machine):
    node = machine.start()
    socket = os.path.join(machine.folder, "weft.sock")
    for address in (None, "auto", "127.0.0.1:6379", machine.folder, socket, f"unix://{socket}"):
        assert machine.init(address) == node, address
    assert machine.init(WEFT_ADDRESS=machine.folder) == node
    assert machine.init("auto", RAY_ADDRESS="auto") == node


def test_a_program_can_have_a_node_of_its_own(machine):
    node = machine.start()
    for own in (machine.init("local"), machine.init(num_cpus=1), machine.init(RAY_ADDRESS="local")):
        assert own != node and len(own) == len(node), own
    assert "must not be provided" in machine.init("auto", num_cpus=1)


def test_without_a_node(machine):
    assert len(machine.init()) == 16
    for address in ("auto", "127.0.0.1:6379"):
        out = machine.init(address)
        assert out.startswith("ConnectionError") and "weft start" in out, out
    out = machine.init(machine.folder)
    assert out.startswith("ConnectionError") and "weft start" in out, out
