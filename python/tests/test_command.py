"""The command ray."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from waiting import until

from weft import _node

WEFT_NODES = [_node._binary(), "list", "nodes", "--format=json"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs ``ray`` with a folder of its own for nodes, and returns what it prints."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("WEFT_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, status=0):
        done = subprocess.run([sys.executable, "-m", "weft._command", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done
        return done.stdout if status == 0 else done.stderr

    yield run
    run("stop", "--force")


PROGRAM = """
import weft as ray
ray.init("auto", namespace="there")
class Keeper:
    def get(self):
        return 1
ray.get(ray.remote(Keeper).options(name="keeper", lifetime="detached").remote().get.remote())
print(ray.get([ray.remote(lambda: 2).remote() for _ in range(3)]), ray.cluster_resources()["CPU"], ray.cluster_resources()["fast"])
"""


def test_a_cluster_by_the_command(command):
    said = command("start", "--head", "--port=0", "--num-cpus=1", '--resources={"fast": 2}', "--labels=zone=a", "--dashboard-port=0")
    address = re.search(r"ray start --address='(\S+)'", said)[1]
    assert "already" in command("start", "--head", status=1)
    command("start", f"--address={address}", "--num-cpus", "2", "--disable-usage-stats")
    out = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, check=True)
    assert out.stdout == "[2, 2, 2] 3.0 2.0\n"
    command("health-check")
    status = command("status", "-v")
    assert len(re.findall(r"^ 1 \w{16} \(ALIVE", status, re.M)) == 2
    assert re.search(r"^ 0\S*/3\.0 CPU$", status, re.M)
    assert "no resource demands" in status

    rows = json.loads(command("list", "nodes", "--format=json", "--filter", "state=ALIVE"))
    assert len(rows) == 2
    assert json.loads(command("get", "nodes", rows[0]["node_id"], "--format=json"))[0]["node_id"] == rows[0]["node_id"]
    table = command("list", "actors")
    assert re.search(r"CLASS_NAME .*\n0 .* Keeper .* ALIVE", table)
    assert json.loads(command("list", "actors", "--filter=state!=ALIVE", "--format=yaml")) == []
    assert "filter column" in command("list", "actors", "--filter=nonsense=1", status=1)
    assert sorted(row["is_head_node"] for row in rows) == [False, True]
    assert "<lambda>" in command("summary", "tasks")
    command("kill-actor", "keeper", "--namespace=there")
    trace = re.search(r"\S+\.json", command("timeline"))[0]
    with open(trace) as f:
        assert json.load(f)["traceEvents"]
    os.unlink(trace)
    assert command("stop") == "Stopped 2 of 2 nodes.\n"
    assert "no node" in command("stop")


def test_a_node_that_was_killed(command):
    """It leaves its socket, which is in nobody's way."""
    for _ in range(2):
        command("start", "--head", "--port=0", "--num-cpus=1")
        os.kill(json.loads(subprocess.run(WEFT_NODES, stdout=subprocess.PIPE, check=True).stdout)["pid"], signal.SIGKILL)
        until(lambda: "no node" in command("stop"))


def test_wrong_usage_of_the_command(command):
    assert "no cluster answers" in command("status", status=1)
    command("health-check", status=1)
    assert "--head" in command("start", status=1)
    assert "JSON object" in command("start", "--head", "--resources=[1]", status=1)
    assert "no node of this user" in command("list", "actors", status=1)
    assert "KEY=VALUE" in command("start", "--head", "--labels=a", status=2)
    assert "none.yaml" in command("start", "--head", "--labels-file=none.yaml", status=1)
    assert "invalid choice" in command("nonsense", status=2)
    assert "(Weft)" in command("--version")
