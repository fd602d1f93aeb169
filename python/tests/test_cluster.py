"""Several nodes on this machine."""

import os
import threading
import time

import numpy as np
import pytest
from waiting import until

import weft as ray
from weft.cluster_utils import Cluster
from weft.util.placement_group import placement_group, remove_placement_group
from weft.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy


@pytest.fixture
def cluster():
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield made
    made.shutdown()


def where():
    return ray.get_runtime_context().get_node_id()


def test_nodes(cluster):
    other = cluster.add_node(num_cpus=2, resources={"fast": 3}, labels={"zone": "b"})
    ray.init(address=cluster.address)
    until(lambda: ray.cluster_resources().get("CPU") == 3)
    rows = {n["NodeID"]: n for n in ray.nodes()}
    assert set(rows) == {cluster.head_node.node_id, other.node_id}
    assert rows[other.node_id]["Resources"]["fast"] == 3
    assert rows[other.node_id]["Labels"]["zone"] == "b"
    assert ray.cluster_resources()["fast"] == 3


def test_tasks_go_where_they_must(cluster):
    other = cluster.add_node(num_cpus=1, resources={"fast": 1})
    ray.init(address=cluster.address)
    task = ray.remote(where)
    assert ray.get(task.options(resources={"fast": 1}).remote()) == other.node_id
    for node in (cluster.head_node, other):
        strategy = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        assert ray.get(task.options(scheduling_strategy=strategy).remote()) == node.node_id


def test_objects_travel(cluster):
    cluster.add_node(num_cpus=1, resources={"fast": 1})
    ray.init(address=cluster.address)

    @ray.remote(resources={"fast": 1})
    def make(n):
        return np.arange(n)

    @ray.remote(num_cpus=1)
    def total(a):
        return int(a.sum())

    made = make.remote(3_000_000)
    assert ray.get(total.remote(made)) == 3_000_000 * 2_999_999 // 2
    assert int(ray.get(made)[-1]) == 2_999_999
    there = ray.put(np.ones(2_000_000))
    assert ray.get(total.options(resources={"fast": 1}).remote(there)) == 2_000_000


def test_detached_actor_outlives_its_nodes(cluster):
    here, there, third = (cluster.add_node(num_cpus=1) for _ in range(3))
    ray.init(address=here.address, namespace="n")

    @ray.remote(num_cpus=0.1, max_restarts=1, max_task_retries=1)
    class Counter:
        def __init__(self, start, ref):
            self.n = start + ref

        def add(self):
            self.n += 1
            return self.n, where()

    soft = NodeAffinitySchedulingStrategy(there.node_id, soft=True)
    counter = Counter.options(name="c", lifetime="detached", scheduling_strategy=soft).remote(10, ray.put(5))
    assert ray.get(counter.add.remote()) == (16, there.node_id)
    ray.shutdown()

    ray.init(address=third.address, namespace="n")
    counter = ray.get_actor("c")
    assert ray.get(counter.add.remote(), timeout=30) == (17, there.node_id)
    cluster.remove_node(here, allow_graceful=False)
    assert ray.get(counter.add.remote(), timeout=30) == (18, there.node_id)
    until(lambda: len([n for n in ray.nodes() if n["Alive"]]) == 3)
    assert ray.get(ray.get_actor("c").add.remote(), timeout=30) == (19, there.node_id)
    cluster.remove_node(there, allow_graceful=False)
    n, node = ray.get(counter.add.remote(), timeout=30)
    assert n == 16 and node in (third.node_id, cluster.head_node.node_id)
    ray.kill(counter)
    until(lambda: not ray.util.list_named_actors())


def test_actors_of_any_node_have_one_name(cluster):
    other = cluster.add_node(num_cpus=1, resources={"fast": 1})
    ray.init(address=cluster.address, namespace="n")

    @ray.remote(resources={"fast": 1})
    class Counter:
        def __init__(self):
            self.n = 0

        def add(self):
            self.n += 1
            return self.n, where()

    counter = Counter.options(name="c").remote()
    assert ray.get(counter.add.remote()) == (1, other.node_id)

    @ray.remote(num_cpus=0)
    def call():
        return ray.get(ray.get_actor("c", namespace="n").add.remote())

    assert ray.get(call.remote())[0] == 2
    with pytest.raises(ValueError):
        Counter.options(name="c").remote()


def test_groups_spread(cluster):
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address)
    group = placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
    ray.get(group.ready(), timeout=30)
    task = ray.remote(where)
    at = [ray.get(task.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, i)).remote()) for i in range(3)]
    assert len(set(at)) == 3
    remove_placement_group(group)


def test_a_node_that_dies_costs_no_task(cluster):
    cluster.add_node(num_cpus=1)
    victim = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address)

    @ray.remote(num_cpus=1, max_retries=5)
    def slow(i):
        time.sleep(0.02)
        return i, os.getpid()

    refs = [slow.remote(i) for i in range(150)]
    ray.wait(refs, num_returns=20)
    cluster.remove_node(victim, allow_graceful=False)
    assert [i for i, _ in ray.get(refs, timeout=60)] == list(range(150))
    until(lambda: len(ray.nodes()) == 2)


def test_an_actor_restarts_on_another_node(cluster):
    cluster.add_node(num_cpus=1, resources={"fast": 1})
    second = cluster.add_node(num_cpus=1, resources={"fast": 1})
    ray.init(address=cluster.address)

    @ray.remote(resources={"fast": 1}, max_restarts=1, max_task_retries=-1)
    class Here:
        def where(self):
            return where()

    actor = Here.remote()
    first = ray.get(actor.where.remote())
    victim = second if first == second.node_id else next(n for n in cluster.worker_nodes if n is not second)
    cluster.remove_node(victim, allow_graceful=False)
    assert ray.get(actor.where.remote(), timeout=60) not in (first, cluster.head_node.node_id)


def test_removed_in_good_order(cluster):
    node = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address)
    until(lambda: len(ray.nodes()) == 2)
    cluster.remove_node(node)
    cluster.wait_for_nodes()
    with pytest.raises(ValueError, match="does not know"):
        cluster.add_node(colour="blue")


def test_every_node_is_replaced_under_load(cluster):
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    ray.init(address=cluster.address)

    @ray.remote(num_cpus=0.5)
    def leaf(i):
        return bytes([i]) * 200_000

    @ray.remote(num_cpus=0.5)
    def add(a, b):
        return bytes([(a[0] + b[0]) % 256]) * 200_000

    rounds, failures, ended = [0], [], threading.Event()

    def load():
        while not ended.is_set() and not failures:
            try:
                parts = [leaf.remote(i) for i in range(16)]
                while len(parts) > 1:
                    parts = [add.remote(a, b) for a, b in zip(parts[::2], parts[1::2])]
                assert ray.get(parts[0], timeout=60) == bytes([sum(range(16))]) * 200_000
                rounds[0] += 1
            except Exception as e:
                failures.append(e)

    def another_round():
        before = rounds[0]
        until(lambda: failures or rounds[0] > before, timeout=90)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for node in nodes:
            another_round()
            cluster.remove_node(node)
            another_round()
            cluster.add_node(num_cpus=1)
        another_round()
    finally:
        ended.set()
        thread.join()
    assert not failures, failures


def test_what_a_task_defines_runs_anywhere(cluster):
    """Its code is at the task's node, which is not the driver's."""
    nodes = [cluster.head_node, cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    ray.init(address=cluster.address)
    ids = [n.node_id for n in nodes]

    @ray.remote
    def outer():
        @ray.remote
        def inner():
            return where()

        @ray.remote
        class Inner:
            def at(self):
                return where()

        on = [NodeAffinitySchedulingStrategy(n, soft=False) for n in ids]
        return ray.get(
            [inner.options(scheduling_strategy=s).remote() for s in on] + [Inner.options(scheduling_strategy=s).remote().at.remote() for s in on]
        )

    for start in ids:
        assert ray.get(outer.options(scheduling_strategy=NodeAffinitySchedulingStrategy(start, soft=False)).remote()) == ids * 2


def test_what_waits_goes_to_a_node_that_joins(cluster, tmp_path):
    """As do actors that need a node each to the nodes that are free."""
    ray.init(address=cluster.address)

    @ray.remote(num_cpus=1)
    def meet(n):
        (tmp_path / str(n)).touch()
        until(lambda: len(list(tmp_path.iterdir())) == 3)
        return where()

    meeting = [meet.remote(n) for n in range(3)]
    until(lambda: list(tmp_path.iterdir()))
    ids = {cluster.head_node.node_id, *(cluster.add_node(num_cpus=1).node_id for _ in range(2))}
    assert set(ray.get(meeting)) == ids

    @ray.remote(num_cpus=1)
    class Alone:
        def at(self):
            return where()

    for _ in range(3):
        actors = [Alone.remote() for _ in range(3)]
        assert {ray.get(a.at.remote()) for a in actors} == ids
        for a in actors:
            ray.kill(a)
        until(lambda: ray.available_resources().get("CPU") == 3)
