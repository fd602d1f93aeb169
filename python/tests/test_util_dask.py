"""Dask graphs computed by the cluster."""

from __future__ import annotations

import pytest

dask = pytest.importorskip("dask")


@pytest.fixture(scope="module")
def dr(ray, load):
    return load("util.dask")


@dask.delayed
def inc(x):
    return x + 1


@dask.delayed
def add(x, y):
    return x + y


@dask.delayed
def fail():
    raise KeyError("dask")


def test_compute(dr):
    scheduler = dr.ray_dask_get
    shared = inc(1)
    total = add(add(shared, shared), inc(shared))
    assert total.compute(scheduler=scheduler) == 7
    assert dask.compute(inc(1), [inc(2), {"a": inc(3)}], scheduler=scheduler) == (2, [3, {"a": 4}])
    with pytest.raises(KeyError):
        fail().compute(scheduler=scheduler)


def test_plain_graph(dr):
    graph = {"a": 1, "b": (lambda x: x + 1, "a"), "c": (sum, ["a", "b"]), "d": "c"}
    assert dr.ray_dask_get(graph, "c") == 3
    if dr.__name__ != "ray.util.dask":  # Ray 2.60's raises TypeError
        assert dr.ray_dask_get_sync(graph, "c") == 3
    assert dr.ray_dask_get(graph, ["a", ["b", "d"]]) == (1, (2, 3))


def test_enabled_within_a_block(dr):
    with dr.enable_dask_on_ray():
        assert dask.config.get("scheduler") is dr.ray_dask_get
        assert inc(1).compute() == 2
    assert dask.config.get("scheduler", None) is not dr.ray_dask_get


def test_callbacks(ray, dr):
    seen = []

    class Hooks(dr.RayDaskCallback):
        def _ray_postsubmit(self, task, key, deps, object_ref):
            seen.append("postsubmit")

        def _ray_pretask(self, key, object_refs):
            return 40

        def _ray_posttask(self, key, result, pre_state):
            assert pre_state == 40

        def _ray_postsubmit_all(self, object_refs, dsk):
            seen.append("all")

        def _ray_finish(self, result):
            seen.append("finish")

    with Hooks():
        assert inc(1).compute(scheduler=dr.ray_dask_get) == 2
    assert seen == ["postsubmit", "all", "finish"]
    assert inc(1).compute(scheduler=dr.ray_dask_get) == 2
    assert len(seen) == 3


def test_presubmit_stands_in_for_a_task(dr):
    class Hooks(dr.RayDaskCallback):
        def _ray_presubmit(self, task, key, deps):
            return 100 if "inc" in str(key) else None

    with Hooks():
        assert add(inc(1), 5).compute(scheduler=dr.ray_dask_get) == 105


def test_progress_bar(dr):
    with dr.ProgressBarCallback():
        assert add(inc(1), inc(2)).compute(scheduler=dr.ray_dask_get) == 5
