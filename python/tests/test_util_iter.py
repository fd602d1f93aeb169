"""Sharded iterators, groups of actors and progress bars: what few programs use."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def it(ray, load):
    return load("util.iter")


def double(x):
    return 2 * x


def test_gather(it):
    assert list(it.from_items([1, 2, 3, 4]).gather_sync()) == [1, 2, 3, 4]
    assert list(it.from_range(6).gather_sync()) == [0, 3, 1, 4, 2, 5]
    assert sorted(it.from_range(6).gather_async(num_async=2)) == list(range(6))
    assert it.from_items([1, 2], repeat=True).take(5) == [1, 2, 1, 2, 1]
    assert list(it.from_range(4).batch_across_shards()) == [[0, 2], [1, 3]]
    with pytest.raises(TypeError, match="gather_sync"):
        iter(it.from_range(2))


def test_transforms(it):
    r = it.from_range(8)
    assert sorted(r.for_each(double).filter(lambda x: x > 4).gather_sync()) == [6, 8, 10, 12, 14]
    assert list(r.batch(2).gather_sync()) == [[0, 1], [4, 5], [2, 3], [6, 7]]
    assert sorted(r.batch(3).flatten().gather_sync()) == list(range(8))
    assert sorted(r.combine(lambda x: [x, x]).gather_sync()) == sorted([*range(8), *range(8)])
    assert sorted(r.local_shuffle(3, seed=1).gather_sync()) == list(range(8))


def test_shards(it):
    r = it.from_range(4).union(it.from_items([10, 20]))
    assert r.num_shards() == 4
    assert [list(s) for s in r.shards()] == [[0, 1], [2, 3], [10], [20]]
    assert list(it.from_range(4, 4).select_shards([0, 2]).gather_sync()) == [0, 2]


def test_local_iterators(it):
    local = it.from_range(6, num_shards=1).gather_sync()
    assert local.for_each(double).filter(lambda x: x != 4).batch(2).take(2) == [[0, 2], [6, 8]]
    assert next(it.from_range(3).gather_sync()) == 0


def test_actor_group(ray, load):
    class Member:
        def __init__(self, base):
            self.base = base

        def add(self, x):
            return self.base + x

    group = load("util.actor_group").ActorGroup(Member, num_actors=2, num_cpus_per_actor=0, init_args=(10,))
    assert len(group) == 2
    assert ray.get(group.add.remote(1)) == [11, 11]
    with pytest.raises(TypeError, match="cannot be called directly"):
        group.add(1)
    group.remove_actors([0])
    assert ray.get(group.add.remote(2)) == [12]
    group.shutdown(patience_s=0)
    with pytest.raises(RuntimeError, match="shutdown"):
        group.add.remote(1)


def test_progress_bar(ray, load, capsys):
    tqdm_ray = load("experimental.tqdm_ray")
    assert list(tqdm_ray.tqdm(range(3), desc="count")) == [0, 1, 2]
    bar = tqdm_ray.tqdm(total=2, desc="steps")
    bar.update()
    bar.set_description("more")
    bar.close()
    assert bar.n == 1
    assert bar.total == 2
    tqdm_ray.safe_print("hello")
    out, err = capsys.readouterr()
    assert "hello" in out
    if tqdm_ray.__name__ != "ray.experimental.tqdm_ray":  # Ray draws with the package tqdm, at its own times
        assert "count: 100%" in err
        assert "1/2" in err


def test_get_with_a_bar(ray, load, capsys):
    tqdm_ray = load("experimental.tqdm_ray")
    if not hasattr(tqdm_ray, "get"):
        pytest.skip("Ray has no such function")
    f = ray.remote(double)
    assert tqdm_ray.get([f.remote(i) for i in range(4)], desc="get") == [0, 2, 4, 6]
    assert "get: 100%" in capsys.readouterr().err
