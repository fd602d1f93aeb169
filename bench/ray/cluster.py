"""Measures two nodes on one machine by a library of Ray's API: ``python cluster.py ray|weft``. Prints one JSON object of figures."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module

import numpy as np

NAME = sys.argv[1]
ray = import_module(NAME)
Cluster = import_module(f"{NAME}.cluster_utils").Cluster
groups = import_module(f"{NAME}.util.placement_group")
GiB = 1 << 30

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 3 * GiB})
cluster.add_node(num_cpus=2, resources={"there": 1000}, object_store_memory=3 * GiB)
ray.init(address=cluster.address, log_to_driver=False)


@ray.remote(resources={"there": 1})
def nothing():
    return b"ok"


@ray.remote(num_cpus=0, resources={"there": 1})
class Actor:
    def nothing(self):
        return b"ok"

    def size(self, a):
        return a.nbytes


def rate(fn, count, least=1.0):
    """How many a second: fn does count; repeated for ``least`` seconds after a warm-up."""
    fn()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < least:
        fn()
        done += count
    return done / (time.perf_counter() - start)


def transfer(nbytes, actor, times):
    """Bytes a second, of fresh objects put here and read there; in GiB/s."""
    took = 0.0
    for i in range(times + 1):
        ref = ray.put(np.full(nbytes, i, dtype=np.uint8))
        start = time.perf_counter()
        assert ray.get(actor.size.remote(ref)) == nbytes
        if i:  # the first is a warm-up
            took += time.perf_counter() - start
        del ref
    return nbytes * times / took / GiB


def actors(n):
    start = time.perf_counter()
    made = [Actor.remote() for _ in range(n)]
    ray.get([a.nothing.remote() for a in made])
    took = time.perf_counter() - start
    for a in made:
        ray.kill(a)
    return n / took


def group():
    g = groups.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
    ray.get(g.ready())
    groups.remove_placement_group(g)


def join():
    """Until a node that is started has run a task, seconds."""
    start = time.perf_counter()
    node = cluster.add_node(wait=False, num_cpus=1, resources={"fresh": 1})
    ray.get(nothing.options(resources={"fresh": 1}).remote())
    took = time.perf_counter() - start
    cluster.remove_node(node)
    return took


figures = {}
figures["task on another node, one at a time, 1/s"] = rate(lambda: ray.get(nothing.remote()), 1)
figures["tasks on another node, 1,000 at a time, 1/s"] = rate(lambda: ray.get([nothing.remote() for _ in range(1000)]), 1000)
a = Actor.remote()
figures["actor on another node, one call at a time, 1/s"] = rate(lambda: ray.get(a.nothing.remote()), 1)
figures["actor on another node, 1,000 calls at a time, 1/s"] = rate(lambda: ray.get([a.nothing.remote() for _ in range(1000)]), 1000)
figures["object of 100 MiB to another node, GiB/s"] = transfer(100 << 20, a, 5)
figures["object of 1 GiB to another node, GiB/s"] = transfer(GiB, a, 2)
ray.kill(a)
figures["20 actors on another node, made and called, 1/s"] = actors(20)
figures["placement group over two nodes, made and removed, 1/s"] = rate(group, 1)
figures["a node joins and runs a task, s"] = join()
ray.shutdown()
cluster.shutdown()
print(json.dumps(figures))
