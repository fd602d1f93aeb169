"""Collectives of CPU tensors between actors. On genuine Ray they need torch; there these tests run only with it."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")

SIZES = [5, 20_000]  # within a call; by refs


@pytest.fixture(scope="module")
def col(ray, load):
    mod = load("util.collective")
    if not mod.gloo_available():
        pytest.skip("Ray's own collectives need torch")
    return mod


@pytest.fixture(scope="module")
def member(ray, col):
    name = col.__name__

    @ray.remote(num_cpus=0)
    class Member:
        def __init__(self):
            from importlib import import_module

            self.col = import_module(name)

        def init(self, size, rank, group):
            self.col.init_collective_group(size, rank, "gloo", group)
            return self.col.get_rank(group), self.col.get_collective_group_size(group)

        def run(self, fn, *args):
            return fn(self.col, *args)

    return Member


@pytest.fixture(scope="module")
def three(ray, member):
    members = [member.remote() for _ in range(3)]
    got = ray.get([m.init.remote(3, i, "g") for i, m in enumerate(members)])
    assert got == [(0, 3), (1, 3), (2, 3)]
    yield members
    ray.get([m.run.remote(leave) for m in members])


def leave(col):
    col.destroy_collective_group("g")
    return col.is_group_initialized("g")


def everywhere(ray, members, fn, *args):
    return ray.get([m.run.remote(fn, *args) for m in members])


def _allreduce(col, n, op=None):
    a = np.arange(n, dtype=np.float64) + col.get_rank("g")
    if op is None:
        col.allreduce(a, "g")
    else:
        col.allreduce(a, "g", op)
    return a


@pytest.mark.parametrize("n", SIZES)
def test_allreduce(ray, col, load, three, n):
    for a in everywhere(ray, three, _allreduce, n):
        np.testing.assert_array_equal(a, 3 * np.arange(n) + 3)
    op = load("util.collective.types").ReduceOp
    base = np.arange(n, dtype=np.float64)
    for which, want in [(op.MAX, base + 2), (op.MIN, base), (op.PRODUCT, base * (base + 1) * (base + 2))]:
        np.testing.assert_array_equal(everywhere(ray, three, _allreduce, n, which)[1], want)


def _others(col, n):
    rank = col.get_rank("g")
    out = {}
    a = np.full(n, float(rank))
    col.broadcast(a, 2, "g")
    out["broadcast"] = a[0], a[-1]
    a = np.full((n, 1), float(rank + 1))
    col.reduce(a, 1, "g")
    out["reduce"] = a.sum() / n
    gathered = [np.zeros(n) for _ in range(3)]
    col.allgather(gathered, np.full(n, float(rank)), "g")
    out["allgather"] = [g[-1] for g in gathered]
    a = np.zeros(n)
    col.reducescatter(a, [np.full(n, float(10 * i + rank)) for i in range(3)], "g")
    out["reducescatter"] = a[0]
    col.barrier("g")
    if rank == 0:
        col.send(np.full(n, 7.0), 1, "g")
        col.send(np.full(n, 8.0), 1, "g")
    elif rank == 1:
        a, b = np.zeros(n), np.zeros(n)
        col.recv(a, 0, "g")
        col.recv(b, 0, "g")
        out["recv"] = a[0], b[-1]
    return out


@pytest.mark.parametrize("n", SIZES)
def test_the_other_calls(ray, three, n):
    got = everywhere(ray, three, _others, n)
    for rank, out in enumerate(got):
        assert out["broadcast"] == (2.0, 2.0)
        assert out["reduce"] == (6.0 if rank == 1 else rank + 1)
        assert out["allgather"] == [0.0, 1.0, 2.0]
        assert out["reducescatter"] == 30.0 * rank + 3
    assert got[1]["recv"] == (7.0, 8.0)


def _wrong(col, what):
    a = np.zeros(2)
    calls = {
        "type": lambda: col.allreduce([1], "g"),
        "group": lambda: col.allreduce(a, "nowhere"),
        "rank": lambda: col.broadcast(a, 3, "g"),
        "negative": lambda: col.reduce(a, -1, "g"),
        "self": lambda: col.send(a, col.get_rank("g"), "g"),
        "list": lambda: col.allgather([a], a, "g"),
        "twice": lambda: col.init_collective_group(3, 0, "gloo", "g"),
    }
    calls[what]()


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("type", RuntimeError),
        ("group", RuntimeError),
        ("rank", ValueError),
        ("negative", ValueError),
        ("self", RuntimeError),
        ("list", RuntimeError),
        ("twice", RuntimeError),
    ],
)
def test_wrong_calls(ray, three, what, error):
    with pytest.raises(error):
        ray.get(three[0].run.remote(_wrong, what))


def _sum_of(col, group):
    a = np.ones(3)
    col.allreduce(a, group)
    rank = col.get_rank(group)
    col.barrier(group)
    col.destroy_collective_group(group)
    return rank, a.tolist()


def test_group_declared_from_outside(ray, col, member):
    members = [member.remote() for _ in range(2)]
    col.create_collective_group(members, 2, [1, 0], "gloo", "declared")
    assert everywhere(ray, members, _sum_of, "declared") == [(1, [2.0, 2.0, 2.0]), (0, [2.0, 2.0, 2.0])]


def test_outside_of_actors(ray, load):
    col = load("util.collective")
    assert not col.is_group_initialized("g")
    with pytest.raises(RuntimeError, match="only used inside"):
        col.get_rank("g")
    for actors, size, ranks in [([], 1, [0]), ([1], 0, [0]), ([1, 2], 2, [0, 5])]:
        with pytest.raises(RuntimeError):
            col.create_collective_group(actors, size, ranks, "gloo", "g2")
    with pytest.raises(TypeError, match="BaseGroup"):
        col.register_collective_backend("x", int)
