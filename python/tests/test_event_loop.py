"""The event loop of an asynchronous actor, which reads what comes for it unless something holds it up."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture(scope="module")
def slow(ray):
    @ray.remote(num_cpus=0)
    class Gate:
        def __init__(self):
            self.event = asyncio.Event()

        async def wait(self, value):
            await self.event.wait()
            return value

        async def open(self):
            self.event.set()

    return Gate


@pytest.fixture
def held(ray):
    @ray.remote(num_cpus=0)
    class Held:
        async def future(self, refs):
            return refs[0].future().result(30)  # which holds the loop up

        async def get(self, refs):
            return ray.get(refs[0], timeout=30)

        async def get_on_thread(self, refs):
            return await asyncio.get_running_loop().run_in_executor(None, ray.get, refs[0])

        async def awaited(self, refs):
            return await refs[0]

        async def echo(self, value):
            return value

        async def threads(self, n):
            names = set()

            def call():
                names.add(ray.get(quick.remote()))

            threads = [threading.Thread(target=call) for _ in range(n)]
            for t in threads:
                t.start()
            await asyncio.get_running_loop().run_in_executor(None, lambda: [t.join() for t in threads])
            return names

    @ray.remote(num_cpus=0)
    def quick():
        return "quick"

    return Held.remote()


@pytest.mark.parametrize("how", ["future", "get", "get_on_thread", "awaited"])
def test_waits_while_calls_come(ray, slow, held, how):
    gate = slow.remote()
    ref = gate.wait.remote("late")
    waits = getattr(held, how).remote([ref])
    echoes = [held.echo.remote(i) for i in range(50)]
    if how in ("get_on_thread", "awaited"):  # the loop goes on meanwhile
        assert ray.get(echoes, timeout=30) == list(range(50))
    ray.get(gate.open.remote())
    assert ray.get(waits, timeout=30) == "late"
    assert ray.get(echoes, timeout=30) == list(range(50))
    assert ray.get(held.echo.remote(how), timeout=30) == how


def test_threads_and_the_loop_read_in_turn(ray, held):
    for _ in range(20):
        many = held.threads.remote(4)
        echoes = [held.echo.remote(i) for i in range(20)]
        assert ray.get(many, timeout=30) == {"quick"}
        assert ray.get(echoes, timeout=30) == list(range(20))


def test_calls_one_by_one_from_many_threads(ray, held):
    def calls(n):
        return [ray.get(held.echo.remote((n, i)), timeout=30) for i in range(50)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(calls, range(4))) == [[(n, i) for i in range(50)] for n in range(4)]


def test_cancelled_before_the_loop_is_free(ray, slow, held):
    gate = slow.remote()
    waits = held.future.remote([gate.wait.remote("late")])
    echo = held.echo.remote(1)
    ray.cancel(echo)
    ray.get(gate.open.remote())
    assert ray.get(waits, timeout=30) == "late"
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(echo, timeout=30)


def test_groups_do_not_hold_each_other_up(ray):
    @ray.remote(num_cpus=0, concurrency_groups={"other": 1})
    class Grouped:
        def __init__(self):
            self.go_on = threading.Event()

        async def held(self):
            return self.go_on.wait(30)  # holds up the loop of its group

        @ray.method(concurrency_group="other")
        async def release(self, value):
            self.go_on.set()
            return value

    actor = Grouped.remote()
    held = actor.held.remote()
    assert ray.get(actor.release.remote(7), timeout=30) == 7
    assert ray.get(held, timeout=30)
    assert ray.get([actor.release.remote(i) for i in range(20)], timeout=30) == list(range(20))


@pytest.mark.parametrize("asynchronous", [True, False])
def test_calls_do_not_wait_for_the_arguments_of_others(ray, slow, asynchronous):
    @ray.remote(num_cpus=0)
    class Sync:
        def echo(self, value):
            return value

    @ray.remote(num_cpus=0)
    class Async:
        async def echo(self, value):
            return value

    gate = slow.remote()
    actor = (Async if asynchronous else Sync).options(max_concurrency=2).remote()
    late = actor.echo.remote(gate.wait.remote("late"))
    assert ray.get(actor.echo.remote("soon"), timeout=30) == "soon"
    ray.get(gate.open.remote())
    assert ray.get(late, timeout=30) == "late"


def test_a_callback_that_raises_costs_nothing_else(ray, capfd):
    @ray.remote(num_cpus=0)
    def one():
        return 1

    def fail(_value):
        raise ValueError("of the callback")

    done = threading.Event()
    ref = one.remote()
    ref._on_completed(fail)
    ref.future().add_done_callback(lambda _: done.set())
    assert done.wait(30)
    assert ray.get(one.remote(), timeout=30) == 1
    assert "of the callback" in capfd.readouterr().err
