"""Measures a library of Ray's API: ``python workload.py ray|weft``. Prints one JSON object of figures."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module

NAME = sys.argv[1]
began = time.perf_counter()
ray = import_module(NAME)
ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)


@ray.remote
def nothing():
    return b"ok"


@ray.remote
def one_ms():
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass


@ray.remote(num_cpus=0)
class Actor:
    def nothing(self):
        return b"ok"

    def with_argument(self, x):
        return b"ok"


@ray.remote(num_cpus=0)
class AsyncActor:
    async def nothing(self):
        return b"ok"


@ray.remote(num_cpus=0)
class Client:
    """Calls tasks or actors from a process of its own."""

    def tasks(self, n):
        ray.get([nothing.remote() for _ in range(n)])

    def calls(self, actors, n):
        ray.get([a.nothing.remote() for a in actors for _ in range(n)])

    def calls_with_argument(self, actors, n):
        x = ray.put(0)
        ray.get([a.with_argument.remote(x) for a in actors for _ in range(n)])


def rate(fn, count, least=1.0):
    """How many a second: fn does count; repeated for ``least`` seconds after a warm-up."""
    fn()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        fn()
        done += count
    return done / (time.perf_counter() - start)


def resident():
    """Bytes of memory of the processes below this one, shared pages divided."""
    total, todo = 0, [os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) << 10 for line in f if line.startswith("Pss:"))
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as f:
                    todo += map(int, f.read().split())
        except OSError:
            continue
    return total


def main():
    out = {}
    ray.get(nothing.remote())
    out["init to the first result, s"] = time.perf_counter() - began
    ray.get([nothing.remote() for _ in range(100)])
    out["resident after init and first tasks, MB"] = resident() / 1e6
    out["tasks, sync, /s"] = rate(lambda: ray.get(nothing.remote()), 1)
    out["tasks, async, /s"] = rate(lambda: ray.get([nothing.remote() for _ in range(1000)]), 1000)
    start = time.perf_counter()
    ray.get([one_ms.remote() for _ in range(2000)])
    out["2,000 calls of 1 ms, s"] = time.perf_counter() - start
    a = Actor.remote()
    out["actor 1:1, sync, /s"] = rate(lambda: ray.get(a.nothing.remote()), 1)
    out["actor 1:1, async, /s"] = rate(lambda: ray.get([a.nothing.remote() for _ in range(1000)]), 1000)
    s = AsyncActor.remote()
    out["async actor, sync, /s"] = rate(lambda: ray.get(s.nothing.remote()), 1)
    out["async actor, async, /s"] = rate(lambda: ray.get([s.nothing.remote() for _ in range(1000)]), 1000)
    clients = [Client.remote() for _ in range(4)]
    ray.get([c.__ray_ready__.remote() for c in clients])
    out["tasks, 4 clients, async, /s"] = rate(lambda: ray.get([c.tasks.remote(500) for c in clients]), 2000)
    actors = [Actor.remote() for _ in range(2)]
    out["actor n:n, async, /s"] = rate(lambda: ray.get([c.calls.remote(actors, 250) for c in clients[:2]]), 1000)
    out["actor n:n, with an argument, /s"] = rate(lambda: ray.get([c.calls_with_argument.remote(actors, 100) for c in clients[:2]]), 400)
    out["put small, /s"] = rate(lambda: ray.put(0), 1)
    ref = ray.put(0)
    out["get small, /s"] = rate(lambda: ray.get(ref), 1)
    import numpy as np

    array = np.zeros(100 << 20, dtype=np.uint8)
    out["put 100 MiB, GiB/s"] = rate(lambda: ray.put(array), 100 / 1024, 2.0)
    box = ray.put([ray.put(i) for i in range(10_000)])
    out["object of 10,000 refs, get, /s"] = rate(lambda: ray.get(box), 1)
    refs = [nothing.remote() for _ in range(1000)]
    ray.get(refs)

    def wait_all():
        rest = [nothing.remote() for _ in range(1000)]
        while rest:
            _, rest = ray.wait(rest)

    out["wait on 1,000 refs, one by one, /s"] = rate(wait_all, 1)
    start = time.perf_counter()
    many = [Actor.remote() for _ in range(20)]
    ray.get([m.nothing.remote() for m in many])
    out["20 actors created and called, /s"] = 20 / (time.perf_counter() - start)
    del many
    pg = import_module(f"{NAME}.util.placement_group")

    def group():
        g = pg.placement_group([{"CPU": 1}])
        g.wait(30)
        pg.remove_placement_group(g)

    out["placement group, create and remove, /s"] = rate(group, 1)
    print(json.dumps(out))
    sys.stdout.flush()


main()
ray.shutdown()
