"""Corners of the API in which programs of Ray's rely on what Ray does. Each was compared with Ray 2.60."""

import copy
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
