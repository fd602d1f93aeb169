"""ActorPool, Queue, multiprocessing.Pool, joblib, as_completed and map_unordered, as a program uses them."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time

import pytest


class Worker:
    def double(self, x):
        if x < 0:
            raise KeyError(x)
        return 2 * x

    def sleep(self, s):
        time.sleep(s)
        return s


def double(actor, x):
    return actor.double.remote(x)


def sleep(actor, s):
    return actor.sleep.remote(s)


def square(x):
    if x < 0:
        raise ValueError(f"bad {x}")
    return x * x


def set_variable(value):
    os.environ["ZZ"] = value


def add(x, y=0):
    return x + y


@pytest.fixture(scope="module")
def actors(ray):
    cls = ray.remote(num_cpus=0)(Worker)
    made = [cls.remote(), cls.remote()]
    yield made
    for a in made:
        ray.kill(a)


@pytest.fixture
def pool(ray, actors):
    return ray.util.ActorPool(actors)


def test_actor_pool_maps_in_order_and_out_of_order(pool):
    assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]
    assert sorted(pool.map_unordered(double, range(5))) == [0, 2, 4, 6, 8]
    assert list(pool.map(double, [])) == []


def test_actor_pool_submit_and_get(pool):
    for v in (1, 2, 3):
        pool.submit(double, v)
    assert not pool.has_free()
    assert pool.pop_idle() is None
    assert [pool.get_next() for _ in range(3)] == [2, 4, 6]
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_actor_pool_mixes_ordered_and_unordered(pool):
    for v in (1, 2, 3):
        pool.submit(double, v)
    got = [pool.get_next_unordered(), pool.get_next(), pool.get_next()]
    assert sorted(got) == [2, 4, 6]


def test_actor_pool_timeouts(pool):
    pool.submit(sleep, 0.7)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01)
    with pytest.raises(TimeoutError):
        pool.get_next_unordered(timeout=0.01)
    assert pool.has_next()
    with pytest.raises(TimeoutError, match="has been ignored"):
        pool.get_next(timeout=0.01, ignore_if_timedout=True)
    assert not pool.has_next()
    assert pool.has_free()


def test_actor_pool_error_gives_the_actor_back(ray, pool):
    pool.submit(double, -1)
    with pytest.raises(KeyError):
        pool.get_next()
    assert not pool.has_next()
    first, second = pool.pop_idle(), pool.pop_idle()
    assert first is not None and second is not None and pool.pop_idle() is None
    pool.push(first)
    with pytest.raises(ValueError, match="already belongs"):
        pool.push(first)


def test_actor_pool_map_forgets_earlier_work(pool):
    pool.submit(double, 50)
    assert list(pool.map(double, [1, 2])) == [2, 4]


def test_as_completed(ray):
    f = ray.remote(square)
    refs = [f.remote(i) for i in range(7)]
    assert sorted(ray.util.as_completed(refs, chunk_size=3)) == [0, 1, 4, 9, 16, 25, 36]
    assert set(ray.util.as_completed(refs, yield_obj_refs=True)) == set(refs)
    assert list(ray.util.as_completed([])) == []
    with pytest.raises(ValueError, match="chunk_size"):
        list(ray.util.as_completed(refs, chunk_size=0))
    with pytest.raises(ValueError, match="num_returns"):
        list(ray.util.as_completed(refs, num_returns=1))


def test_map_unordered(ray, actors):
    f = ray.remote(square)
    assert sorted(ray.util.map_unordered(f, range(9), backpressure_size=2, chunk_size=4)) == [i * i for i in range(9)]
    assert sorted(ray.util.map_unordered(f, range(3), backpressure_size=None)) == [0, 1, 4]
    assert sorted(ray.util.map_unordered(actors[0].double, range(3))) == [0, 2, 4]
    with pytest.raises(ValueError, match="backpressure_size"):
        list(ray.util.map_unordered(f, [1], backpressure_size=0))


@pytest.fixture
def make_queue(load):
    made = []

    def make(maxsize=0):
        q = load("util.queue").Queue(maxsize, actor_options={"num_cpus": 0})
        made.append(q)
        return q

    yield make
    for q in made:
        q.shutdown(force=True)


def test_queue_is_first_in_first_out(make_queue):
    q = make_queue()
    assert q.empty() and not q.full() and len(q) == 0
    for i in range(3):
        q.put(i)
    q.put_nowait_batch((3, 4))
    assert q.qsize() == q.size() == len(q) == 5
    assert [q.get() for _ in range(3)] == [0, 1, 2]
    assert q.get_nowait_batch(2) == [3, 4]
    assert q.get_nowait_batch(0) == []


def test_queue_full_and_empty(load, make_queue):
    mod = load("util.queue")
    q = make_queue(2)
    q.put(1)
    with pytest.raises(mod.Full, match="Cannot add 2 items"):
        q.put_nowait_batch([2, 3])
    q.put_nowait(2)
    assert q.full()
    for put in (lambda: q.put_nowait(3), lambda: q.put(3, block=False), lambda: q.put(3, timeout=0.05)):
        with pytest.raises(mod.Full):
            put()
    with pytest.raises(mod.Empty, match="Cannot get 3 items"):
        q.get_nowait_batch(3)
    assert (q.get(), q.get_nowait()) == (1, 2)
    for get in (q.get_nowait, lambda: q.get(block=False), lambda: q.get(timeout=0.05)):
        with pytest.raises(mod.Empty):
            get()
    assert issubclass(mod.Empty, queue.Empty) and issubclass(mod.Full, queue.Full)


def test_queue_with_no_time_at_all(load, make_queue):
    mod = load("util.queue")
    q = make_queue(1)
    if mod.__name__ != "ray.util.queue":  # Ray finds the queue full, or empty, without looking
        q.put(1, timeout=0)
        assert q.get(timeout=0) == 1
    with pytest.raises(mod.Empty):
        q.get(timeout=0)


def test_queue_checks_arguments(make_queue):
    q = make_queue()
    for wrong in (lambda: q.put(1, timeout=-1), lambda: q.get(timeout=-1), lambda: q.get_nowait_batch(-1)):
        with pytest.raises(ValueError):
            wrong()
    for wrong in (lambda: q.get_nowait_batch("a"), lambda: q.put_nowait_batch(3)):
        with pytest.raises(TypeError):
            wrong()


def test_queue_from_a_task_and_from_coroutines(ray, make_queue):
    q = make_queue(1)

    @ray.remote
    def fill(q):
        for i in range(4):
            q.put(i)

    done = fill.remote(q)
    assert [q.get() for _ in range(4)] == [0, 1, 2, 3]
    ray.get(done)

    async def both():
        got = asyncio.ensure_future(q.get_async())
        await q.put_async("x")
        return await got

    assert asyncio.run(both()) == "x"


def test_queue_shutdown_ends_waiting_calls(ray, load):
    q = load("util.queue").Queue(actor_options={"num_cpus": 0})
    waiting = q.actor.get.remote()
    q.shutdown(force=True)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(waiting)
    q.shutdown()


@pytest.fixture(scope="module")
def procs(ray, load):
    p = load("util.multiprocessing").Pool(2, ray_remote_args={"num_cpus": 0})
    yield p
    p.terminate()


def test_pool_apply_and_map(procs):
    assert procs.apply(add, (3,), {"y": 4}) == 7
    assert procs.map(square, range(7)) == procs.map(square, range(7), chunksize=3) == [i * i for i in range(7)]
    assert procs.map(square, (i for i in range(3))) == [0, 1, 4]
    assert procs.map(square, []) == []
    assert procs.starmap(add, [(1, 2), (3, 4)]) == [3, 7]
    assert list(procs.imap(square, range(5))) == [0, 1, 4, 9, 16]
    assert sorted(procs.imap_unordered(square, range(5), chunksize=2)) == [0, 1, 4, 9, 16]


def test_pool_raises_what_the_function_raised(procs):
    for call in (lambda: procs.apply(square, (-1,)), lambda: procs.map(square, [1, -1])):
        with pytest.raises(ValueError, match="bad -1"):
            call()


def test_pool_async_results(load, procs):
    mp = load("util.multiprocessing")
    r = procs.apply_async(time.sleep, (0.7,))
    assert not r.ready()
    with pytest.raises(ValueError, match="not ready"):
        r.successful()
    with pytest.raises(mp.TimeoutError):
        r.get(timeout=0.01)
    r.wait()
    assert r.get() is None and r.ready() and r.successful()
    failed = procs.apply_async(square, (-2,))
    failed.wait()
    assert not failed.successful()


def test_pool_callbacks(procs):
    called = threading.Event()
    got = []

    def note(value):
        got.append(value)
        called.set()

    procs.apply_async(square, (4,), callback=note)
    assert called.wait(30) and got == [16]
    called.clear()
    procs.map_async(square, [1, -1], error_callback=note)
    assert called.wait(30) and len(got) == 2 and isinstance(got[1], Exception)


def test_pool_imap_timeout_and_end(load, procs):
    with pytest.raises(load("util.multiprocessing").TimeoutError):
        procs.imap(time.sleep, [0.5]).next(timeout=0.01)
    it = procs.imap(square, [3])
    assert it.next() == 9
    with pytest.raises(StopIteration):
        it.next()


def test_pool_life(load):
    mp = load("util.multiprocessing")
    with mp.Pool(1, initializer=set_variable, initargs=("q",), maxtasksperchild=2) as p:
        assert p.apply(os.getenv, ("ZZ",)) == "q"
        assert len({p.apply(os.getpid) for _ in range(5)}) == 3
        with pytest.raises(ValueError, match="still running"):
            p.join()
    with pytest.raises(ValueError, match="not running"):
        p.map(square, [1])
    p = mp.Pool(1)
    last = p.apply_async(square, (3,))
    p.close()
    p.join()
    assert last.get() == 9
    with pytest.raises(ValueError, match="must be >0"):
        mp.Pool(0)
    with pytest.raises(ValueError, match="only 2 CPUs"):
        mp.Pool(50)


def test_joblib(ray, load):
    joblib = pytest.importorskip("joblib")
    load("util.joblib").register_ray()
    with joblib.parallel_backend("ray", ray_remote_args={"num_cpus": 0.5}):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(square)(i) for i in range(20)) == [i * i for i in range(20)]
        with pytest.raises(ValueError):
            joblib.Parallel(n_jobs=2)(joblib.delayed(square)(i) for i in (1, -1))
