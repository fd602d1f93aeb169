"""The Core: tasks, objects, actors and their faults, as a user's program sees them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from conftest import ORACLE
from waiting import until


def test_arguments_and_returns(ray):
    @ray.remote
    def add(a, b=1, *rest, scale=1):
        return (a + b + sum(rest)) * scale

    one = ray.put(1)
    assert ray.get(add.remote(one)) == 2
    assert ray.get(add.remote(one, one, 3, scale=ray.put(10))) == 50
    assert ray.get(add.remote(add.remote(1), b=add.remote(2))) == 5
    with pytest.raises(TypeError):
        add.remote()

    @ray.remote(num_returns=3)
    def three():
        return 1, 2, 3

    assert ray.get(three.remote()) == [1, 2, 3]
    assert three.options(num_returns=0).remote() is None

    @ray.remote(num_returns=2)
    def wrong():
        return 1, 2, 3

    with pytest.raises(ValueError, match="num_returns=2"):
        ray.get(wrong.remote()[0])


def test_misuse_is_named(ray):
    @ray.remote
    def f():
        return 1

    with pytest.raises(TypeError, match="cannot be called directly"):
        f()
    with pytest.raises(ValueError, match="num_cpu"):
        f.options(num_cpu=1)
    with pytest.raises(ValueError):
        f.options(num_cpus=-1)
    with pytest.raises(ValueError):
        ray.get((f.remote(),))
    with pytest.raises(TypeError):
        ray.put(f.remote())
    ref = f.remote()
    with pytest.raises(ValueError, match="unique"):
        ray.wait([ref, ref])
    with pytest.raises(ValueError):
        ray.get_actor("nobody")


def test_nested_references_stay_references(ray):
    inner = ray.put("value")

    @ray.remote
    def look(box):
        return ray.get(box[0])

    @ray.remote
    def make():
        return [ray.put(41)]

    assert ray.get(look.remote([inner])) == "value"
    assert ray.get(ray.get(make.remote())[0]) == 41


def test_nested_tasks_lend_their_cpu(ray):
    @ray.remote
    def down(n):
        return 0 if n == 0 else 1 + ray.get(down.remote(n - 1))

    assert ray.get(down.remote(6)) == 6


def test_large_values_are_not_copied(ray):
    np = pytest.importorskip("numpy")
    array = np.arange(1_000_000, dtype=np.float64)
    ref = ray.put(array)
    back = ray.get(ref)
    assert (back == array).all()
    assert not back.flags.writeable
    assert back.__array_interface__["data"] == ray.get(ref).__array_interface__["data"]

    @ray.remote
    def total(a):
        return float(a.sum()), a.flags.writeable

    @ray.remote
    def double(a):
        return a * 2

    assert ray.get(total.remote(ref)) == (array.sum(), False)
    assert ray.get(total.remote(double.remote(array)))[0] == 2 * array.sum()
    assert ray.get(ray.put(b"x" * 300_000)) == b"x" * 300_000


def test_errors_are_of_both_classes(ray):
    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(a, b)
            self.a = a

    class Wants(Exception):
        def __init__(self, *, what):
            super().__init__(f"wants {what}")
            self.what, self.lock = what, threading.Lock()

    @ray.remote
    def fail(kind):
        raise Wants(what="more") if kind == "wants" else Odd(1, 2) if kind == "odd" else KeyError("missing")

    with pytest.raises(KeyError) as caught:
        ray.get(fail.remote("key"))
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert "missing" in str(caught.value) and "in fail" in str(caught.value)
    with pytest.raises(ray.exceptions.RayTaskError) as caught:
        ray.get(fail.remote("odd"))
    assert caught.value.cause.a == 1
    with pytest.raises(ray.exceptions.RayTaskError, match="wants more") as caught:
        ray.get(fail.remote("wants"))
    if not ORACLE:  # whose pickle is of no use then
        assert type(caught.value.cause).__name__ == "Wants" and caught.value.what == "more"
    with pytest.raises(OSError) as caught:
        ray.get(ray.remote(lambda: os.stat("/nonexistent/file")).remote())
    assert caught.value.errno == 2 and caught.value.filename == "/nonexistent/file"

    @ray.remote
    def passes(x):
        return x

    with pytest.raises(KeyError):
        ray.get(passes.remote(fail.remote("key")))


def test_what_cannot_be_pickled(ray):
    lock = threading.Lock()

    @ray.remote
    def uses():
        return lock

    with pytest.raises(TypeError):
        uses.remote()

    @ray.remote
    def returns():
        return threading.Lock()

    with pytest.raises(TypeError, match="lock"):
        ray.get(returns.remote())
    with pytest.raises(TypeError, match="lock"):
        ray.put(lock)


def test_retries(ray, tmp_path):
    @ray.remote(max_retries=2)
    def dies(path):
        with open(path, "a") as f:
            f.write("x")
        if os.path.getsize(path) < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    assert ray.get(dies.remote(str(tmp_path / "a"))) == "survived"

    @ray.remote(max_retries=0)
    def gone():
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(gone.remote())

    @ray.remote(max_retries=2, retry_exceptions=True)
    def third(path):
        with open(path, "a") as f:
            f.write("x")
        if os.path.getsize(path) < 3:
            raise OSError("not yet")
        return 3

    assert ray.get(third.remote(str(tmp_path / "b"))) == 3


def test_retries_of_some_exceptions(ray, tmp_path):
    def attempts(path):
        with open(path, "a") as f:
            f.write("x")
        return os.path.getsize(path)

    def fails(path, error):
        if attempts(path) < 3:
            raise error
        return "after all"

    task = ray.remote(max_retries=5)(fails)
    only = task.options(retry_exceptions=[OSError, KeyError])
    assert ray.get(only.remote(str(tmp_path / "a"), FileNotFoundError("not yet"))) == "after all"
    with pytest.raises(ValueError, match="no such luck"):
        ray.get(only.remote(str(tmp_path / "b"), ValueError("no such luck")))
    assert os.path.getsize(tmp_path / "b") == 1
    with pytest.raises(ValueError):
        ray.get(task.options(retry_exceptions=False).remote(str(tmp_path / "c"), ValueError("once")))

    @ray.remote(max_retries=3, retry_exceptions=[OSError])
    def items(path, error):
        yield 1
        if attempts(path) < 2:
            raise error

    assert [ray.get(r) for r in items.remote(str(tmp_path / "d"), OSError("again"))] == [1]
    refs = list(items.remote(str(tmp_path / "e"), ValueError("the last")))
    with pytest.raises(ValueError, match="the last"):
        ray.get(refs[-1])
    assert os.path.getsize(tmp_path / "e") == 1

    @ray.remote(max_task_retries=3)
    class Fails:
        @ray.method(retry_exceptions=[OSError])
        def call(self, path, error):
            return fails(path, error)

    a = Fails.remote()
    assert ray.get(a.call.remote(str(tmp_path / "f"), OSError("not yet"))) == "after all"
    with pytest.raises(KeyError):
        ray.get(a.call.remote(str(tmp_path / "g"), KeyError("once")))
    assert os.path.getsize(tmp_path / "g") == 1
    again = a.call.options(retry_exceptions=[KeyError])
    assert ray.get(again.remote(str(tmp_path / "h"), KeyError("again"))) == "after all"
    with pytest.raises(ValueError, match="retry_exceptions"):
        task.options(retry_exceptions=["OSError"])


def test_wait_and_timeouts(ray):
    @ray.remote
    def appears(path):
        while not os.path.exists(path):
            time.sleep(0.005)
        return path

    @ray.remote
    def quick():
        return 1

    a, b = quick.remote(), appears.remote("/nonexistent/never")
    ready, rest = ray.wait([b, a])
    assert (ready, rest) == ([a], [b])
    assert ray.wait([b], timeout=0) == ([], [b])
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(b, timeout=0)
    ray.cancel(b)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(b)
    many = [quick.remote() for _ in range(1000)]
    ready, rest = ray.wait(many, num_returns=1000)
    assert len(ready) == 1000 and rest == []


@pytest.mark.parametrize("first", [True, False])
def test_get_raises_as_soon_as_one_has_failed(ray, first):
    @ray.remote
    def fail():
        raise KeyError("x")

    @ray.remote
    def never():
        while True:
            time.sleep(0.005)

    refs = [never.remote(), fail.remote()]
    if first:
        ray.wait(refs)
    with pytest.raises(KeyError, match="x"):
        ray.get(refs)
    assert ray.wait(refs, num_returns=2, timeout=0) == (refs[1:], refs[:1])
    ray.cancel(refs[0])
    with pytest.raises(KeyError, match="x"):
        ray.get(refs)


def test_generators(ray, tmp_path):
    @ray.remote
    def count(n):
        yield from range(n)

    assert [ray.get(r) for r in count.remote(200)] == list(range(200))

    @ray.remote
    def breaks():
        yield 1
        raise ValueError("in the middle")

    got = breaks.remote()
    assert ray.get(next(got)) == 1
    with pytest.raises(ValueError, match="in the middle"):
        ray.get(next(got))
    with pytest.raises(StopIteration):
        next(got)
    next(count.remote(10_000))  # and leave it

    @ray.remote(_generator_backpressure_num_objects=2)
    def eager(path):
        for i in range(50):
            with open(path, "a") as f:
                f.write("x")
            yield i

    path = tmp_path / "made"
    items = eager.remote(str(path))
    for i in range(50):
        assert ray.get(next(items)) == i
        # Those read, the window of two, and the one that is at hand.
        assert path.stat().st_size <= i + 1 + 2 + 1

    @ray.remote
    def large():
        for i in range(8):
            yield bytes([i]) * (20 << 20)

    assert [ray.get(r)[0] for r in large.remote()] == list(range(8))


def test_the_end_of_a_generator(ray, tmp_path):
    @ray.remote
    def many(n):
        yield from range(n)
        if n == 3:
            raise ValueError("three")

    end = many.remote(500)
    assert ray.get(end.completed()) is None  # though nobody reads
    assert [ray.get(r) for r in end] == list(range(500)) and ray.get(end.completed()) is None
    with pytest.raises(ValueError, match="three"):
        ray.get(many.remote(3).completed())

    @ray.remote
    def slow(path):
        with open(path) as f:
            yield f.read()

    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    waits = slow.remote(pipe)
    assert ray.wait([waits, waits.completed()], timeout=0) == ([], [waits, waits.completed()])
    with open(pipe, "w") as f:
        f.write("here")
    assert ray.wait([waits, end]) == ([waits], [end]) or ray.wait([waits, end]) == ([end], [waits])
    assert ray.wait([waits]) == ([waits], [])
    assert ray.get(next(waits)) == "here"

    async def awaits():
        return await waits.completed()

    assert asyncio.run(awaits()) is None
    with pytest.raises(NotImplementedError):
        waits.send(1)


def test_an_async_generator_waits_for_its_consumer(ray):
    @ray.remote
    class Source:
        async def items(self, n):
            for i in range(n):
                yield i

    items = Source.remote().items.remote(500)
    assert [ray.get(r) for r in items] == list(range(500))


def test_what_workers_print_says_who(tmp_path, ray):
    path = tmp_path / "prints.py"
    path.write_text(
        "import sys, weft\nweft.init(num_cpus=1)\n@weft.remote\ndef talks():\n    print('said')\n"
        "@weft.remote\nclass Talker:\n    def talk(self):\n        print('too')\n"
        "weft.get(talks.remote())\nt = Talker.remote()\nweft.get(t.talk.remote())\nsys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-u", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said = sorted(process.stdout.readline() for _ in range(2))
        process.stdin.close()
    assert said[0].startswith("(Talker pid=") and said[0].endswith("too\n")
    assert said[1].startswith("(talks pid=") and said[1].endswith("said\n")


def test_actors(ray):
    @ray.remote
    class Counter:
        def __init__(self, start=0):
            self.n = start

        def add(self, k=1):
            self.n += k
            return self.n

        def fail(self):
            raise ValueError("no")

        @ray.method(num_returns=2)
        def two(self):
            return 1, 2

        def items(self, n):
            yield from range(n)

        def pid(self):
            return os.getpid()

    c = Counter.remote(10)
    assert ray.get([c.add.remote() for _ in range(20)]) == list(range(11, 31))
    with pytest.raises(ValueError):
        ray.get(c.fail.remote())
    assert ray.get(c.two.remote()) == [1, 2]
    assert [ray.get(r) for r in c.items.remote(3)] == [0, 1, 2]
    assert ray.get(c.__ray_ready__.remote()) is True
    assert ray.get(c.__ray_call__.remote(lambda self: self.n)) == 30
    with pytest.raises(AttributeError):
        c.nothing  # noqa: B018
    with pytest.raises(TypeError):
        Counter()

    @ray.remote
    def use(handle):
        return ray.get(handle.add.remote(100))

    assert ray.get(use.remote(c)) == 130
    pid = ray.get(c.pid.remote())
    ray.kill(c)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(c.add.remote())
    until(lambda: not _alive(pid))


def test_an_actor_ends_with_its_last_handle(ray):
    @ray.remote
    class A:
        def pid(self):
            return os.getpid()

    a = A.remote()
    pid = ray.get(a.pid.remote())
    del a
    until(lambda: not _alive(pid))


def test_named_actors(ray):
    @ray.remote
    class Named:
        def me(self):
            return os.getpid()

    first = Named.options(name="the one").remote()
    pid = ray.get(first.me.remote())
    assert ray.get(ray.get_actor("the one").me.remote()) == pid
    with pytest.raises(ValueError):
        Named.options(name="the one").remote()
    assert ray.get(Named.options(name="the one", get_if_exists=True).remote().me.remote()) == pid


def test_actor_restarts(ray):
    @ray.remote(max_restarts=1, max_task_retries=1)
    class Fragile:
        def pid(self):
            return os.getpid()

        def again(self):
            return ray.get_runtime_context().was_current_actor_reconstructed

    f = Fragile.remote()
    os.kill(ray.get(f.pid.remote()), signal.SIGKILL)
    assert ray.get(f.again.remote()) is True

    @ray.remote
    class Broken:
        def __init__(self):
            raise RuntimeError("cannot be made")

        def m(self):
            pass

    with pytest.raises(ray.exceptions.RayActorError, match="cannot be made"):
        ray.get(Broken.remote().m.remote())


def test_async_calls_are_cancelled_at_any_moment(ray):
    @ray.remote(max_concurrency=5)
    class Sleeper:
        async def sleep(self):
            await asyncio.sleep(1000)

        async def awake(self):
            return True

    a = Sleeper.remote()
    refs = [a.sleep.remote() for _ in range(100)]
    for ref in refs:  # some run, some wait for their turn, some have not come yet
        ray.cancel(ref)
    for ref in refs:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref, timeout=60)
    assert ray.get(a.awake.remote(), timeout=60)


def test_async_and_threaded_actors(ray):
    @ray.remote
    class Meeting:
        def __init__(self):
            self.event = asyncio.Event()

        async def wait(self):
            await self.event.wait()
            return "met"

        async def come(self):
            self.event.set()

        async def items(self):
            for i in range(3):
                yield i

    m = Meeting.remote()
    waiting = [m.wait.remote() for _ in range(50)]
    ray.get(m.come.remote())
    assert ray.get(waiting) == ["met"] * 50
    assert [ray.get(r) for r in m.items.options(num_returns="streaming").remote()] == [0, 1, 2]

    @ray.remote(max_concurrency=2)
    class Barrier:
        def __init__(self):
            self.barrier = threading.Barrier(2)

        def meet(self):
            self.barrier.wait()
            return True

    b = Barrier.remote()
    assert ray.get([b.meet.remote(), b.meet.remote()]) == [True, True]


def test_await_and_futures(ray):
    @ray.remote
    def double(x):
        return 2 * x

    async def main():
        return await asyncio.gather(*(double.remote(i) for i in range(20)))

    assert asyncio.run(main()) == [2 * i for i in range(20)]
    assert double.remote(4).future().result() == 8


def test_many_threads(ray):
    @ray.remote
    def same(x):
        return x

    wrong = []

    def work(k):
        for i in range(20):
            if ray.get(same.remote((k, i))) != (k, i):
                wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_who_follows_is_told_when_nobody_leads(ray):
    from weft import _state

    session = _state.session
    done = []
    assert session._lead.acquire()  # as the side thread has it when it takes work back
    thread = threading.Thread(target=lambda: done.append(ray.get(ray.put([1]))) or session.wait_until(lambda: len(done) > 1))
    thread.start()
    until(lambda: session._followers == 1)
    done.append(2)
    session._give_up_lead()
    thread.join()
    assert done == [[1], 2]


def test_context(ray):
    @ray.remote(num_cpus=0.5, name="a name")
    def who():
        c = ray.get_runtime_context()
        return c.get_task_id(), c.get_job_id(), c.get_assigned_resources(), c.get_task_name()

    task, job, resources, name = ray.get(who.remote())
    assert len(task) == 32 and job == ray.get_runtime_context().get_job_id()
    assert resources == {"CPU": 0.5} and name == "a name"
    assert ray.get_runtime_context().get_task_id() is None
    assert ray.cluster_resources()["CPU"] == 2


def test_a_forked_child_is_told(ray):
    @ray.remote
    def f():
        return 1

    assert ray.get(f.remote()) == 1
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            f.remote()
        except ray.exceptions.RaySystemError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert b"forked" in os.read(read, 1000)
    assert ray.get(f.remote()) == 1


PROGRAM = """
    import os, sys, time
    import {name} as ray
    ray.init(num_cpus=1)
    @ray.remote
    def pids():
        return os.getpid(), os.getppid()
    print(*ray.get(pids.remote()), flush=True)
    {then}
"""


def _program(tmp_path, then, name="weft"):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM).format(name=name, then=then))
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    worker, node = map(int, process.stdout.readline().split())
    return process, worker, node


def test_everything_ends_with_a_killed_driver(tmp_path, ray):
    process, worker, node = _program(tmp_path, "sys.stdin.read(); time.sleep(1000)")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: not _alive(worker) and not _alive(node))


def test_nothing_is_left_of_a_program(tmp_path, ray):
    process, worker, node = _program(tmp_path, "")
    process.communicate()
    assert process.returncode == 0
    until(lambda: not _alive(worker) and not _alive(node))


def test_ctrl_c(tmp_path, ray):
    process, worker, node = _program(tmp_path, "ray.get(ray.remote(time.sleep.__class__ and (lambda: time.sleep(1000))).remote())")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    until(lambda: not _alive(worker) and not _alive(node))


def test_the_name_of_ray(tmp_path, ray):
    path = tmp_path / "plain.py"
    path.write_text(
        "import ray, weft\nfrom ray.util import ActorPool\nimport ray.exceptions\nassert ray is weft\n"
        "@ray.remote\ndef f():\n    import ray, weft\n    return ray is weft\nprint(ray.get(f.remote()))\n"
    )
    out = subprocess.run([sys.executable, "-m", "weft", "run", "--ray", str(path)], capture_output=True, text=True)
    assert (out.stdout, out.returncode) == ("True\n", 0), out.stderr


def test_replay(tmp_path, ray):
    """`weft replay` runs a failed task again, with the arguments that it had."""

    @ray.remote
    def audit(name, numbers, *, big):
        raise ValueError(f"{name}: {sum(numbers)} and {len(big)} do not add up")

    failed = audit.remote("books", ray.remote(lambda: [1, 2]).remote(), big=ray.put(b"x" * 300_000))
    with pytest.raises(ValueError):
        ray.get(failed)
    out = _replay(failed.task_id().hex())
    assert out.returncode == 1 and "ValueError: books: 3 and 300000 do not add up" in out.stderr, out
    out = _replay(failed.task_id().hex(), "--print")
    assert out.stdout.strip().endswith(f"{sys.executable} -m weft._replay {failed.task_id().hex()}"), out
    out = _replay("ab" * 16)
    assert out.returncode != 0 and "arguments are gone" in out.stderr, out


def _replay(*arguments):
    import _weft
    from weft import _state

    return subprocess.run([_weft.find(), "replay", "--address", _state.current().address, *arguments], capture_output=True, text=True)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is read
        return False
