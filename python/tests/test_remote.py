"""Programs on machines that are no nodes: weft:// and ray://, with real nodes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from waiting import until

import weft
from weft import _api, _environment, _node, _state
from weft.cluster_utils import Cluster, ClusterNode


@pytest.fixture(scope="module", autouse=True)
def apart():
    """Puts the session aside that the tests of other modules share."""
    kept = _state.session, _api._node_here
    _state.session = _api._node_here = None
    yield
    _state.session, _api._node_here = kept


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A cluster of one, and a runtime directory in which no other head of this user leaves tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        patch.setenv("WEFT_PYTHON", sys.executable)
        for name in ("WEFT_ADDRESS", "RAY_ADDRESS", "WEFT_TOKEN"):
            patch.delenv(name, raising=False)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        yield cluster.head_node
        cluster.shutdown()


@pytest.fixture
def end():
    yield
    weft.shutdown()


def command(node, *arguments):
    ran = subprocess.run([_node._binary(), *arguments, f"--address={node.dir}", "--format=json"], stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def token(node, *flags, role="driver"):
    return command(node, "token", "create", f"--role={role}", *flags)[0]["token"]


@weft.remote
def double(x):
    return x * 2


@weft.remote
def fail():
    raise KeyError("it was asked to")


@weft.remote
class Counter:
    def __init__(self, n=0):
        self.n = n

    def add(self, by=1):
        self.n += by
        return self.n


@pytest.mark.parametrize("scheme", ["weft", "ray"])
def test_what_a_driver_does(head, end, scheme):
    context = weft.init(f"{scheme}://{head.cluster_address}", namespace="outside")
    assert context["address"] == f"{scheme}://{head.cluster_address}"
    assert weft.get([double.remote(i) for i in range(100)]) == [2 * i for i in range(100)]
    data = np.arange(5_000_000)
    ref = weft.put(data)
    assert np.array_equal(weft.get(ref), data)
    assert np.array_equal(weft.get(double.remote(ref)), 2 * data)
    assert weft.get(double.remote(double.remote([ref])))[3] == ref
    with pytest.raises(KeyError, match="it was asked to"):
        weft.get(fail.remote())
    counter = Counter.options(name=f"counter-{scheme}").remote(5)
    assert weft.get([counter.add.remote() for _ in range(10)]) == list(range(6, 16))
    assert weft.get(weft.get_actor(f"counter-{scheme}").add.remote(10)) == 25
    ready, rest = weft.wait([double.remote(1), double.remote(2)], num_returns=2, timeout=30)
    assert len(ready) == 2 and not rest
    assert weft.cluster_resources()["CPU"] == 2


def test_program_of_ray(head, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        import ray
        with ray.init("ray://{head.cluster_address}") as context:
            assert context.ray_version == ray.__version__
            @ray.remote
            def say(x):
                print("said by", x)
                return ray.get(ray.put(x))
            # print writes an unbuffered line in parts, between which the worker's may come.
            sys.stdout.write(f"returned {{ray.get(say.remote('a worker'))}}\\n")
            input()
        print("connected", ray.is_initialized())
        """)
    )
    arguments = [_node._binary(), "run", "--ray", str(program)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as ran:
        said = {ran.stdout.readline() for _ in range(2)}
        assert "returned a worker\n" in said
        assert any(re.search(r"pid=\d+\) said by a worker$", line) for line in said)
        assert ran.communicate("\n", timeout=60)[0] == "connected False\n"
    assert ran.returncode == 0


def test_clients_of_old(head, end):
    from weft.util.client import num_connected_contexts
    from weft.util.client import ray as stub

    assert not stub.is_connected() and num_connected_contexts() == 0
    with pytest.warns(DeprecationWarning):
        context = weft.client(head.cluster_address).namespace("old").env({"env_vars": {"SEEN": "yes"}}).connect()
    assert stub.is_connected() and num_connected_contexts() == 1
    assert stub.get(stub.remote(lambda: os.environ["SEEN"]).remote()) == "yes"
    context.disconnect()
    assert not weft.is_initialized()
    assert weft.util.connect(head.cluster_address)["ray_version"] == weft.__version__
    with pytest.raises(RuntimeError, match="already connected"):
        weft.util.connect(head.cluster_address)
    weft.util.disconnect()
    weft.util.disconnect()
    assert not stub.is_connected()


def test_folder_travels(head, end, tmp_path):
    (tmp_path / "mod_outside.py").write_text("answer = 42\n")

    @weft.remote
    def answer():
        import mod_outside

        return mod_outside.answer, os.getcwd()

    weft.init(f"weft://{head.cluster_address}", runtime_env={"working_dir": str(tmp_path)})
    got, where = weft.get(answer.remote())
    assert got == 42 and where != str(tmp_path)


def test_interpreter_of_another_machine(head, end, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    weft.init(f"weft://{head.cluster_address}")
    assert weft.get(double.remote(4)) == 8


def test_python_of_another_version():
    session = SimpleNamespace(info=SimpleNamespace(metadata={"python": "3.4.1"}), runtime_env={})
    broken = _environment.set_up(session)
    assert "the program runs in Python 3.4.1" in str(broken) and "WEFT_PYTHON" in str(broken)
    session.runtime_env = {"py_executable": "python"}
    assert _environment.set_up(session) is None


def jobs(node):
    return command(node, "list", "jobs")


WAITING = """
import os, sys, time, weft
weft.init({address!r})
weft.get(weft.remote(lambda: 1).remote())
pids = weft.remote(lambda: time.sleep(3600)).remote()
if {fork}:
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
print("waits", flush=True)
try:
    time.sleep(3600)
except KeyboardInterrupt:
    weft.shutdown()
"""


@pytest.mark.parametrize(("how", "fork"), [(signal.SIGINT, False), (signal.SIGKILL, False), (signal.SIGKILL, True)])
def test_end_of_a_driver(head, how, fork):
    until(lambda: not jobs(head))
    code = WAITING.format(address=f"weft://{head.cluster_address}", fork=fork)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"waits\n"
        assert len(jobs(head)) == 1
        program.send_signal(how)
        program.wait()
        until(lambda: not jobs(head), timeout=20)  # of 30 s for one whose connection is gone


class Way:
    """Passes bytes on to an address, until it is cut."""

    def __init__(self, to):
        host, _, port = to.rpartition(":")
        self.to, self.open, self.shut, self.tries = (host, int(port)), [], False, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                there, _ = self.listener.accept()
            except OSError:
                return
            self.tries += 1
            if self.shut:
                there.close()
                continue
            on = socket.create_connection(self.to)
            self.open += [there, on]
            for pair in ((there, on), (on, there)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    @staticmethod
    def carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        self.shut = True
        for s in self.open:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.cut()
        self.listener.close()
        for s in self.open:
            s.close()


def test_cut(head, end):
    way = Way(head.cluster_address)
    weft.init(f"weft://{token(head)}@{way.address}")
    counter = Counter.remote()
    refs, counts = [], []
    for i in range(200):
        refs.append(double.remote(np.full(5_000, i)))
        counts.append(counter.add.remote())
        if i == 100:
            way.cut()
    tries = way.tries
    until(lambda: way.tries > tries + 10)  # one each 200 ms
    way.shut = False
    assert weft.get(counts, timeout=60) == list(range(1, 201))
    assert all(np.array_equal(v, np.full(5_000, 2 * i)) for i, v in enumerate(weft.get(refs, timeout=60)))
    weft.shutdown()
    way.close()


NOBODY = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.9"
"""An address of this machine's own at which no other test listens."""


def test_port_of_ray(head, end):
    """A program that names the port of Ray's clients finds a head at that of Weft's."""
    node = ClusterNode(["--head", f"--listen={NOBODY}:6380", "--cpus=1"])
    for address in (f"ray://{NOBODY}:10001", f"ray://{NOBODY}", f"weft://{NOBODY}"):
        weft.init(address)
        assert weft.get(double.remote(5)) == 10
        weft.shutdown()
    node.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def test_refusals(head, end, monkeypatch, tmp_path):
    here = head.cluster_address
    good = token(head)
    cases = {
        f"weft://weft-xyz@{here}": "that is no token",
        f"weft://{token(head, '--ttl=1ns')}@{here}": "the token has expired",
        f"weft://{good}@127.0.0.1:{free_port()}": "cannot be reached",
        f"weft://{good}@": "is no address of a cluster",
        f"ray://{good}@{NOBODY}:10001": f"neither {NOBODY}:10001 nor {NOBODY}:6380 can be reached",
    }
    for address, says in cases.items():
        with pytest.raises(ConnectionError, match=re.escape(says)) as caught:
            weft.init(address)
        assert good not in str(caught.value)
        assert not weft.is_initialized()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # as on a machine without a head
    with pytest.raises(ConnectionError, match=r"there is no token.*weft token create --role driver"):
        weft.init(f"weft://{here}")
    monkeypatch.setenv("WEFT_TOKEN", good)
    monkeypatch.setenv("RAY_ADDRESS", f"ray://{here}")
    weft.init()
    assert weft.get(double.remote(3)) == 6
    with pytest.raises(RuntimeError, match="twice"):
        weft.init(f"ray://{here}")
    weft.shutdown()
    with pytest.raises(ValueError, match="one session"):
        weft.init(f"ray://{here}", allow_multiple=True)
    with pytest.raises(ValueError, match="num_cpus must not be provided"):
        weft.init(f"ray://{here}", num_cpus=2)


def test_reader(head, end):
    weft.init(f"weft://{token(head, role='reader')}@{head.cluster_address}")
    assert weft.cluster_resources()["CPU"] == 2
    with pytest.raises(weft.exceptions.RaySystemError, match='role "reader"'):
        weft.get(double.remote(1))


def test_revoked(head, end):
    made = token(head)
    weft.init(f"weft://{made}@{head.cluster_address}")
    ref = weft.remote(lambda: time.sleep(3600)).remote()
    (name,) = {t["name"] for t in command(head, "token", "list") if t.get("role") == "driver" and t["name"] in decoded(made)}
    subprocess.run([_node._binary(), "token", "revoke", name, f"--address={head.dir}"], check=True)
    with pytest.raises(weft.exceptions.RaySystemError, match="revoked"):
        weft.get(ref, timeout=30)


def decoded(made):
    """A token's bytes begin with its name."""
    import base64

    text = made.partition("-")[2].upper()
    return base64.b32decode(text + "=" * (-len(text) % 8)).hex()
