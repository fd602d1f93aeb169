"""Placement groups: what fits, and what removal does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest
from waiting import until

import weft as ray
from weft.cluster_utils import Cluster
from weft.util.placement_group import placement_group, remove_placement_group
from weft.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@pytest.fixture
def two_cpus():
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_group_that_is_removed_ends_what_is_in_it(nodes):
    """On the driver's own node, and where another owns what runs there."""
    with contextlib.ExitStack() as stack:
        if nodes == 1:
            ray.init(num_cpus=2)
        else:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
            stack.callback(cluster.shutdown)
            cluster.add_node(num_cpus=2)
            ray.init(cluster.address)
        stack.callback(ray.shutdown)

        @ray.remote(num_cpus=0)
        class Begun:
            def __init__(self):
                self.event = asyncio.Event()

            def set(self):
                self.event.set()

            async def wait(self):
                await self.event.wait()

        @ray.remote(num_cpus=1)
        def run(begun, pid):
            ray.get(begun.set.remote())
            while True:
                time.sleep(0.005)

        @ray.remote(num_cpus=1, max_restarts=-1)
        class Inside:
            def pid(self):
                return os.getpid()

        group = placement_group([{"CPU": 1}, {"CPU": 1}])
        ray.get(group.ready())
        strategies = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i) for i in range(2)]
        begun = Begun.remote()
        once = run.options(scheduling_strategy=strategies[0], max_retries=0).remote(begun, None)
        queued = run.options(scheduling_strategy=strategies[0]).remote(begun, None)
        inside = Inside.options(scheduling_strategy=strategies[1]).remote()
        pid = ray.get([inside.pid.remote(), begun.wait.remote()])[0]
        remove_placement_group(group)
        with pytest.raises(ray.exceptions.WorkerCrashedError, match="its placement group was removed"):
            ray.get(once)
        for ref in (queued, run.options(scheduling_strategy=strategies[0]).remote(begun, None)):
            with pytest.raises(ray.exceptions.TaskPlacementGroupRemoved):
                ray.get(ref)
        for method in (inside.pid, Inside.options(scheduling_strategy=strategies[1]).remote().pid):
            with pytest.raises(ray.exceptions.ActorDiedError, match=r"actor died.* placement group .*was removed"):
                ray.get(method.remote())
        until(lambda: not os.path.exists(f"/proc/{pid}"))
        until(lambda: ray.available_resources().get("CPU") == 2)


def test_what_fits_into_no_bundle(two_cpus):
    @ray.remote(num_cpus=2)
    def f():
        return 1

    @ray.remote
    class A:
        def f(self):
            return 1

    with pytest.raises(ValueError, match="'bundle'"):
        placement_group([{"bundle": 1}])
    group = placement_group([{"CPU": 1}, {"x": 1}])
    one, other = (PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i) for i in range(2))
    for call in (
        f.options(scheduling_strategy=one),
        f.options(num_cpus=1, scheduling_strategy=other),
        f.options(resources={"x": 1}, scheduling_strategy=PlacementGroupSchedulingStrategy(group)),
        A.options(scheduling_strategy=other),
        A.options(resources={"x": 2}, scheduling_strategy=other),
    ):
        with pytest.raises(ValueError, match="none of the placement group's bundles"):
            call.remote()
    for call in (A.options(scheduling_strategy=one), A.options(num_cpus=0, resources={"x": 1}, scheduling_strategy=other)):
        call.remote()


def test_workers_that_start_lend_no_cpu(two_cpus):
    """Until it has its code, a task that begins waits for the node."""

    @ray.remote(num_cpus=2)
    class Most:
        def alone(self):
            time.sleep(0.01)
            return time.monotonic()

    @ray.remote(num_cpus=2)
    def span():
        began = time.monotonic()
        time.sleep(0.01)
        return began, time.monotonic()

    spans = sorted(ray.get([span.remote() for _ in range(6)]))
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))


def test_a_group_of_another_process(two_cpus):
    group = placement_group([{"CPU": 2}])
    late = placement_group([{"CPU": 1}])

    @ray.remote(num_cpus=0)
    def look(groups):
        return [g.wait(0.05) for g in groups], ray.get(groups[0].ready()) == groups[0], groups[0].bundle_specs

    assert ray.get(look.remote([group, late])) == ([True, False], True, [{"CPU": 2}])
    follow = ray.remote(num_cpus=0)(lambda g: g.wait(30)).remote(late)
    remove_placement_group(group)
    assert ray.get(follow)


def test_groups_are_a_sessions(two_cpus):
    placement_group([{"CPU": 1}])
    assert len(ray.util.placement_group_table()) == 1
    ray.shutdown()
    ray.init(num_cpus=2)
    assert ray.util.placement_group_table() == {}
