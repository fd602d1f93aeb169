"""Which accelerators tasks and actors are given, and shown."""

import importlib
import os
import subprocess
import sys

import pytest

SHOWN = """
import os, sys
import weft as ray
ray.init(num_cpus=1, num_gpus=2, log_to_driver=False)
def f(): return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_runtime_context().get_accelerator_ids()["GPU"]
print(ray.get(ray.remote(num_gpus=2)(f).remote()), ray.get(ray.remote(f).remote())[:2])
"""


def shown():
    import weft as ray

    context = ray.get_runtime_context()
    return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES"), context.get_accelerator_ids()["GPU"], os.getpid()


@pytest.fixture(scope="module")
def ray():
    saved = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    lib = importlib.import_module("weft")
    lib.init(num_cpus=4, num_gpus=4, resources={"TPU": 2}, log_to_driver=False)
    yield lib
    lib.shutdown()
    if saved is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = saved


def test_a_task_sees_its_own(ray):
    f = ray.remote(shown)
    assert ray.get(f.remote())[:3] == ([], None, [])
    for amount in (1, 0.5):
        numbers, variable, ids, _ = ray.get(f.options(num_gpus=amount).remote())
        assert len(numbers) == 1 and variable == str(numbers[0]) and ids == [variable]
    assert ray.get(f.options(num_gpus=4).remote())[:3] == ([0, 1, 2, 3], "0,1,2,3", ["0", "1", "2", "3"])
    assert ray.get(f.remote())[:3] == ([], None, [])  # in the process of the one before, maybe
    assert ray.get_gpu_ids() == []


def test_actors_keep_theirs(ray):
    @ray.remote(num_gpus=1)
    class Holder:
        def shown(self):
            return shown()

        def halt(self):
            os._exit(1)

    holders = [Holder.options(max_restarts=1).remote() for _ in range(3)]
    seen = ray.get([h.shown.remote() for h in holders])
    assert sorted(s[0][0] for s in seen) == [0, 1, 2]
    assert all(s[1] == str(s[0][0]) for s in seen)
    assert ray.get(ray.remote(shown).options(num_gpus=1).remote())[0] == [3]
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(holders[1].halt.remote())
    assert len(ray.get(holders[1].shown.remote())[0]) == 1
    assert len({ray.get(h.shown.remote())[0][0] for h in holders}) == 3
    for h in holders:
        ray.kill(h)


def test_bundles_have_theirs(ray):
    from weft.util.placement_group import placement_group, remove_placement_group
    from weft.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group([{"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 2}])
    ray.get(group.ready(), timeout=20)
    f = ray.remote(shown)
    one, two = (
        ray.get(f.options(num_gpus=n, scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i)).remote())[0]
        for i, n in ((0, 1), (1, 2))
    )
    assert len(one) == 1 and len(two) == 2 and not {*one} & {*two}
    remove_placement_group(group)


def test_other_kinds(ray):
    def chips():
        return os.environ.get("TPU_VISIBLE_CHIPS"), ray.get_runtime_context().get_accelerator_ids()["TPU"]

    assert ray.get(ray.remote(resources={"TPU": 2})(chips).remote()) == ("0,1", ["0", "1"])


def test_processes_of_gpu_users_end(ray):
    f = ray.remote(num_gpus=1)(shown)
    assert len({ray.get(f.remote())[3] for _ in range(3)}) == 3
    g = ray.remote(num_gpus=1, max_calls=0)(shown)
    assert len({ray.get(g.remote())[3] for _ in range(3)}) == 1


def test_max_calls(ray):
    f = ray.remote(max_calls=2, max_retries=0)(lambda: os.getpid())
    pids = [ray.get(f.remote()) for _ in range(6)]
    assert [pids.index(p) for p in pids] == [0, 0, 2, 2, 4, 4]
    assert sum(ray.get([ray.remote(max_calls=1, max_retries=0)(lambda i: i).remote(i) for i in range(40)])) == sum(range(40))
    for bad, error in ((-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="max_calls"):
            ray.remote(max_calls=bad)(shown)
    with pytest.raises(ValueError, match="max_calls"):
        f.options(max_calls=1)
    with pytest.raises(ValueError, match="max_calls"):
        ray.remote(max_calls=1)(type("C", (), {}))


def test_parts_of_several_are_refused(ray):
    for make in (lambda: ray.remote(num_gpus=1.5)(shown), lambda: ray.remote(resources={"TPU": 1.5})(shown)):
        with pytest.raises(ValueError, match="whole numbers"):
            make()


@pytest.mark.parametrize(
    "variables, want",
    [
        ({"CUDA_VISIBLE_DEVICES": "5,7"}, "(['5', '7'], '5,7', ['5', '7']) ([], '5,7')"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, "(['GPU-a', 'GPU-b'], 'GPU-a,GPU-b', ['GPU-a', 'GPU-b']) ([], 'GPU-a,GPU-b')"),
        ({"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}, "([0, 1], None, ['0', '1']) ([], None)"),
    ],
)
def test_what_the_node_was_shown(variables, want):
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | variables
    out = subprocess.run([sys.executable, "-c", SHOWN], env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.strip() == want
