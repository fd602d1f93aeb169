"""Worker processes: how they are forked, what they inherit, how they end."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from waiting import until


def status(pid):
    """The fields of /proc/PID/stat behind the name: state, parent, group, ...; None once there is no such process."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state[0] in "ZX" else state


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = status(stat.parent.name)
        if fields and int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def node():
    from weft import _api

    return _api._node_here.process.pid


def zygotes(of):
    return [pid for pid in children(of) if "weft._zygote" in command(pid)]


@pytest.fixture
def actor(ray):
    @ray.remote(num_cpus=0)
    class Actor:
        def pid(self):
            return os.getpid()

        def numbers(self):
            return random.random(), os.urandom(4), os.getpgrp(), os.getppid()

        def imports(self):
            return sorted(sys.modules)

        def run(self, fn, *args):
            return fn(*args)

    return Actor


def test_workers_are_forked(ray, actor):
    a, b = actor.remote(), actor.remote()
    first, second = ray.get([a.numbers.remote(), b.numbers.remote()])
    assert first[0] != second[0], "both draw the same random numbers"
    pids = ray.get([a.pid.remote(), b.pid.remote()])
    assert [first[2], second[2]] == pids, "each leads a group of its own"
    assert first[3] == second[3] == node(), "they are the node's own children"
    before = zygotes(node())
    assert before
    c = actor.remote()
    pids.append(ray.get(c.pid.remote()))
    assert set(zygotes(node())) <= set(before), "a zygote is there for all"
    for pid in pids:
        assert command(pid).strip() == "weft::Actor"
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"


def test_a_killed_worker_is_reported(ray, actor):
    a = actor.remote()

    def die():
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(ray.exceptions.RayActorError, match="SIGSEGV"):
        ray.get(a.run.remote(die))


def test_a_killed_caller_takes_no_actor_along(ray, actor):
    @ray.remote(num_cpus=0, max_concurrency=2)
    class Server:
        def __init__(self):
            self.started = threading.Event()

        def started_one(self):
            return self.started.wait(30)

        def pid(self):
            return os.getpid()

        def serve(self):
            self.started.set()
            until(lambda: ray.get_runtime_context().is_canceled())

    server, caller = Server.remote(), actor.remote()
    pids = ray.get([server.pid.remote(), caller.pid.remote()])
    call = caller.run.remote(lambda server: ray.get(server.serve.remote()), server)
    assert ray.get(server.started_one.remote())
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(call)
    # Twice: both of its threads are free again.
    assert ray.get([server.pid.remote() for _ in range(2)]) == [pids[0]] * 2


def test_a_killed_zygote_takes_nobody_along(ray, actor):
    a = actor.remote()
    pid = ray.get(a.pid.remote())
    killed = zygotes(node())
    for zygote in killed:
        os.kill(zygote, signal.SIGKILL)
    until(lambda: not any(status(zygote) for zygote in killed))
    assert ray.get(a.pid.remote()) == pid
    others = [actor.remote() for _ in range(3)]
    assert len(set(ray.get([o.pid.remote() for o in others]))) == 3
    until(lambda: ray.get(actor.remote().pid.remote()) and zygotes(node()))
    with pytest.raises(ray.exceptions.RayActorError, match="SIGTERM"):
        ray.get(a.run.remote(lambda: os.kill(os.getpid(), signal.SIGTERM)))


def test_os_fork_in_a_task(ray):
    @ray.remote
    def fork():
        ref = ray.put(1)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                ray.get(ref)
            except ray.exceptions.RaySystemError as error:
                os.write(write, str(error).encode())
            del ref
            os._exit(3)
        os.close(write)
        said = os.read(read, 1000).decode()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said, ray.get(ref)

    code, said, value = ray.get(fork.remote())
    assert (code, value) == (3, 1)
    assert "forked" in said


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_in_a_task(ray, method):
    @ray.remote
    def pool():
        with multiprocessing.get_context(method).Pool(2) as p:
            return p.map(abs, [-1, 2, -3])

    assert ray.get(pool.remote()) == [1, 2, 3]


def run(program, **env):
    """Runs a program of its own, and returns what it printed, in words."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env={**os.environ, **env}, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.stdout.split()


BUSY = """
    import os, signal, subprocess, sys, time
    import weft
    from weft import _api
    weft.init(num_cpus=2)

    @weft.remote
    def stay():
        child = subprocess.Popen(["sleep", "1000"])
        print(child.pid, os.getpid(), file=open(FILE, "w"), flush=True)
        time.sleep(1000)

    @weft.remote(num_cpus=0)
    class Actor:
        def pid(self):
            return os.getpid()

    a = Actor.remote()
    FILE = os.environ["FILE"]
    stay.remote()
    pids = [_api._node_here.process.pid, weft.get(a.pid.remote())]
    while not os.path.exists(FILE) or len(open(FILE).read().split()) < 2:
        time.sleep(0.01)
    pids += map(int, open(FILE).read().split())
"""
LISTED = """
    pids += [int(p) for p in os.popen(f"ps -o pid= --ppid {pids[0]}").read().split()]
    print(*pids, flush=True)
"""


@pytest.mark.parametrize("end", ["os.kill(pids[0], signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGKILL)", "weft.shutdown()", "sys.exit(0)"])
def test_nothing_is_left(end, tmp_path):
    pids = list(map(int, run(BUSY + LISTED + f"    {end}", FILE=str(tmp_path / "pids"))))
    assert len(pids) >= 7  # the node, an actor, a child of a task, the task's worker, and again those and a zygote
    until(lambda: not any(status(pid) for pid in pids))


def test_a_forked_child_does_not_keep_the_node(tmp_path):
    pids = run("""
        import os, sys, time
        import weft
        from weft import _api
        weft.init(num_cpus=1)
        print(_api._node_here.process.pid, flush=True)
        pid = os.fork()
        if pid == 0:
            os.close(1), os.close(2)
            time.sleep(1000)
        print(pid, flush=True)
        os._exit(0)  # no atexit: the end of the process is all that tells the node
    """)
    node, child = map(int, pids)
    try:
        until(lambda: status(node) is None)
        assert status(child)
    finally:
        os.kill(child, signal.SIGKILL)
