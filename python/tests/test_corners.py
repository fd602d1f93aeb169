"""Corners of the API in which programs of Ray's rely on what Ray does. Each was compared with Ray 2.60."""

import copy
import os
import subprocess
import sys

import pytest

DEAD = """
import weft as ray
ray.init(num_cpus=1, log_to_driver=False)
ref, small = ray.put(bytes(1 << 20)), ray.put(1)
assert ray.get(small) == 1
ray.shutdown()
ray.init(num_cpus=1, log_to_driver=False)
mine = [ray.put(bytes(2 << 20)), ray.put(2)]
f = ray.remote(lambda x: x)
for use in (lambda: ray.get(ref), lambda: ray.get([small]), lambda: ray.wait([ref]), lambda: f.remote(small)):
    try:
        use()
        print("used")
    except ValueError as e:
        assert "session that has ended" in str(e), e
print(ray.get(mine[1]))
"""


def test_references_of_a_session_that_has_ended():
    out = subprocess.run([sys.executable, "-c", DEAD], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out == "2\n"


def test_what_every_node_has(ray):
    ip = ray.util.get_node_ip_address()
    assert ray.nodes()[0]["NodeManagerAddress"] == ip
    everything, free = ray.cluster_resources(), ray.available_resources()
    assert everything[f"node:{ip}"] == everything["node:__internal_head__"] == 1
    assert set(everything) == set(free) >= {"CPU", "memory", "object_store_memory"}
    ref = ray.put(bytes(10 << 20))
    assert everything["object_store_memory"] - ray.available_resources()["object_store_memory"] >= 10 << 20
    there = ray.remote(lambda _: ray.util.get_node_ip_address()).options(resources={f"node:{ip}": 0.001})
    assert ray.get(there.remote(ref)) == ip


def test_amounts_are_floats(ray):
    assert type(ray.cluster_resources()["CPU"]) is float
    assert type(ray.available_resources()["CPU"]) is float
    row = ray.nodes()[0]
    assert type(row["Resources"]["CPU"]) is float
    for key in ("NodeName", "NodeManagerPort", "ObjectStoreSocketName", "RayletSocketName", "MetricsExportPort", "DeathReason"):
        assert key in row


def test_bundles(ray, load):
    groups = load("util.placement_group")
    strategies = load("util.scheduling_strategies")
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not negative"):
            groups.placement_group([{"CPU": bad}])
    group = groups.placement_group([{"CPU": 1}], name="corner")
    assert ray.get(group.ready()) == group
    assert group.bundle_specs == [{"CPU": 1.0}] and type(group.bundle_specs[0]["CPU"]) is float

    @ray.remote(num_cpus=1)
    def inside():
        current = groups.get_current_placement_group()
        return current.bundle_count, groups.placement_group_table(current)["name"], groups.get_placement_group("corner") == current

    strategy = strategies.PlacementGroupSchedulingStrategy(group)
    assert ray.get(inside.options(scheduling_strategy=strategy).remote()) == (1, "corner", True)
    groups.remove_placement_group(group)


def test_wrong_arguments_of_methods(ray):
    @ray.remote
    class C:
        def one(self, a, *, b=0):
            return a + b

        @staticmethod
        def still(a):
            return a

        @classmethod
        def made(cls, a):
            return a

        def any(self, *args, **kwargs):
            return len(args) + len(kwargs)

    c = C.remote()
    assert ray.get([c.one.remote(1, b=2), c.still.remote(3), c.made.remote(4), c.any.remote(1, 2, x=3)]) == [3, 3, 4, 3]
    for call in (
        lambda: c.one.remote(),
        lambda: c.one.remote(1, 2),
        lambda: c.one.remote(1, c=2),
        lambda: c.still.remote(),
        lambda: c.made.remote(1, 2),
    ):
        with pytest.raises(TypeError):
            call()


def test_the_call_that_ends_an_actor(ray):
    @ray.remote
    class C:
        def leave(self):
            ray.actor.exit_actor()

        async def never(self):
            pass

    @ray.remote
    class Serial:
        def leave(self):
            ray.actor.exit_actor()

    for cls in (C, Serial):
        actor = cls.remote()
        with pytest.raises(ray.exceptions.ActorDiedError, match="ended itself"):
            ray.get(actor.leave.remote())
    actor = Serial.remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.__ray_terminate__.remote())


def test_what_get_takes(ray):
    with pytest.raises(TypeError, match="not an ObjectRef"):
        ray.get([1])
    for wrong in (1, (ray.put(1),), {"a": 1}):
        with pytest.raises(ValueError, match="Invalid type of object refs"):
            ray.get(wrong)


def test_named_actors_are_listed_by_name_and_namespace(ray):
    @ray.remote
    class C:
        def ok(self):
            return True

    c = C.options(name="listed", namespace="corner").remote()
    ray.get(c.ok.remote())
    assert {"name": "listed", "namespace": "corner"} in ray.util.list_named_actors(all_namespaces=True)


def test_references_are_pickled_anywhere(ray):
    pickle = ray.cloudpickle
    ref = ray.put("kept")
    data = pickle.dumps({"ref": ref})
    assert copy.deepcopy([ref]) == [ref] and copy.copy(ref) is ref
    del ref

    @ray.remote
    def read(data):
        return ray.get(ray.cloudpickle.loads(data)["ref"])

    assert ray.get(read.remote(data)) == "kept"
    assert ray.get(pickle.loads(data)["ref"]) == "kept"

    @ray.remote
    def pickled():
        return ray.cloudpickle.dumps(ray.put("made in a task"))

    assert ray.get(pickle.loads(ray.get(pickled.remote()))) == "made in a task"


def test_ids(ray):
    assert ray.JobID.from_int(1).hex() == "01000000"
    assert ray.ObjectRef.nil().is_nil() and not ray.ObjectRef.from_random().is_nil()


def test_recursion_finds_room(ray):
    """Each call waits for the next, which may have been sent to its worker before it waited."""

    @ray.remote
    def factorial(n):
        return n * ray.get(factorial.remote(n - 1)) if n else 1

    for _ in range(40):
        assert ray.get([factorial.remote(n) for n in range(6)], timeout=60) == [1, 1, 2, 6, 24, 120]


@pytest.mark.parametrize("through", ["strategy", "options"])
def test_children_run_in_the_group_that_captures_them(ray, through):
    from weft.util.placement_group import placement_group, remove_placement_group
    from weft.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    def where():
        group = ray.util.get_current_placement_group()
        return None if group is None else group.id.hex()

    child = ray.remote(num_cpus=1)(where)

    @ray.remote(num_cpus=1)
    class Child:
        def where(self):
            return where()

    @ray.remote(num_cpus=1)
    def parent():
        inside = ray.get_runtime_context().should_capture_child_tasks_in_placement_group
        actor = Child.options(num_cpus=0).remote()
        return [inside, where(), *ray.get([child.remote(), child.options(num_cpus=0, placement_group=None).remote(), actor.where.remote()])]

    group = placement_group([{"CPU": 1}])
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    given = {"strategy": {"scheduling_strategy": strategy}, "options": {"placement_group": group, "placement_group_capture_child_tasks": True}}
    name = group.id.hex()
    for _ in range(2):
        assert ray.get(parent.options(**given[through]).remote(), timeout=30) == [True, name, name, None, name]
        assert ray.get(parent.remote(), timeout=30) == [False, None, None, None, None]
    remove_placement_group(group)


def test_methods_travel(ray):
    @ray.remote(num_cpus=0)
    class Adder:
        def add(self, a, b=1):
            return a + b

    @ray.remote
    def call(method, *args):
        return ray.get(method.remote(*args))

    adder = Adder.remote()
    assert ray.get(call.remote(adder.add, 2, 3), timeout=30) == 5
    assert ray.get([call.remote(Adder.remote().add, i) for i in range(3)], timeout=30) == [1, 2, 3]
    with pytest.raises(ValueError, match="force=True is not supported"):
        ray.cancel(adder.add.remote(1), force=True)


def test_a_question_lends_no_cpu(ray):
    @ray.remote(num_cpus=2)
    def free():
        return [ray.available_resources().get("CPU", 0) for _ in range(50)]

    assert set(ray.get(free.remote(), timeout=30)) == {0}


def test_threads_of_numpy_are_the_cpus_of_the_task(ray):
    @ray.remote
    def threads():
        return os.environ["OMP_NUM_THREADS"]

    assert [ray.get(threads.options(num_cpus=n).remote(), timeout=30) for n in (2, 1, 0.5)] == ["2", "1", "1"]
    own = {"env_vars": {"OMP_NUM_THREADS": "7"}}
    assert ray.get(threads.options(num_cpus=2, runtime_env=own).remote(), timeout=60) == "7"


def test_function_that_is_too_large(ray):
    large = bytes(61 << 20)

    @ray.remote
    def size():
        return len(large)

    with pytest.raises(ValueError, match=r"too large.*weft\.put"):
        size.remote()

    @ray.remote
    def small():
        return 1

    assert ray.get(small.remote(), timeout=30) == 1


def test_where_objects_are(ray):
    here = ray.get_runtime_context().get_node_id()
    refs = [ray.put(bytes(n)) for n in (10, 1_000_000)]
    found = ray.experimental.get_object_locations(refs)
    for ref, size in zip(refs, (10, 1_000_000)):
        assert found[ref]["node_ids"] == [here] and found[ref]["object_size"] >= size and not found[ref]["did_spill"]
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.experimental.get_object_locations(refs, timeout_ms=0)


@pytest.mark.parametrize("key", ["max_retries", "max_calls"])
def test_counts_are_whole(ray, key):
    with pytest.raises(TypeError, match=f"keyword '{key}'"):
        ray.remote(**{key: 0.5})(lambda: None)
