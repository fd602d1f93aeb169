"""weft.util.state: rows and counts of what the node knows."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="module")
def state(load):
    return load("util.state")


def test_tasks_are_listed_by_what_became_of_them(ray, state, tmp_path):
    @ray.remote(max_retries=0)
    def listed_badly():
        raise ValueError("listed")

    @ray.remote
    def listed(path):
        with open(path) as f:  # waits for a writer
            return f.read()

    bad, pipe = listed_badly.remote(), str(tmp_path / "pipe")
    with pytest.raises(ValueError):
        ray.get(bad)
    os.mkfifo(pipe)
    runs = listed.options(name="runs").remote(pipe)
    waits = listed.options(resources={"nothing": 0}).remote(runs)
    with open(pipe, "w") as f:
        while state.get_task(runs).state == "RUNNING_IN_RAY_GET":  # of its code
            pass
        row = state.get_task(runs)
        assert row.state == "RUNNING" and row.name == "runs" and row.type == "NORMAL_TASK" and row.attempt_number == 0
        assert row.worker_pid and row.start_time_ms >= row.creation_time_ms > 1_600_000_000_000
        assert row["node_id"] == ray.get_runtime_context().get_node_id() and row.worker_id in {w.worker_id for w in state.list_workers()}
        assert [t.task_id for t in state.list_tasks(filters=[("name", "=", "RUNS"), ("state", "!=", "FINISHED")])] == [runs.task_id().hex()]
        assert state.get_task(waits.task_id().hex()).state == "PENDING_ARGS_AVAIL"
        f.write("/dev/null")
    assert ray.get(waits) == ""
    failed = state.list_tasks(filters=[("state", "=", "FAILED"), ("name", "=", state.get_task(bad).name)], detail=True)
    assert [t.task_id for t in failed] == [bad.task_id().hex()]
    assert failed[0].error_type == "TASK_EXECUTION_EXCEPTION" and "listed" in failed[0].error_message
    assert "listed_badly" in failed[0].func_or_class_name and failed[0].end_time_ms >= failed[0].start_time_ms
    assert state.get_task(runs).state == "FINISHED" and state.get_task("0" * 32) is None
    assert len(state.list_tasks(limit=1)) == 1
    counts = state.summarize_tasks()["cluster"]
    assert counts["summary"]["runs"]["state_counts"] == {"FINISHED": 1} and counts["total_tasks"] >= 3


def test_actors_are_listed_alive_and_dead(ray, state):
    @ray.remote
    class Listed:
        def pid(self):
            return os.getpid()

    a = Listed.options(name="listed", num_cpus=0).remote()
    pid = ray.get(a.pid.remote())
    row = state.get_actor(a._actor_id.hex())
    assert (row.state, row.class_name, row.name, row.pid, row.num_restarts) == ("ALIVE", "Listed", "listed", pid, 0)
    assert [r.actor_id for r in state.list_actors(filters=[("class_name", "=", "Listed"), ("pid", "=", pid)])] == [row.actor_id]
    calls = state.list_tasks(filters=[("type", "=", "ACTOR_TASK"), ("name", "=", "Listed.pid")])
    assert [c.state for c in calls] == ["FINISHED"]
    assert state.summarize_actors()["cluster"]["summary"]["Listed"]["state_counts"] == {"ALIVE": 1}
    ray.kill(a)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(a.pid.remote())
    row = state.get_actor(a._actor_id.hex())
    assert row.state == "DEAD" and row.death_cause


def test_objects_nodes_jobs_workers_and_groups(ray, state, load):
    ref = ray.put(b"x" * 300_000)
    (row,) = state.get_objects(ref.hex())
    assert row.object_size >= 300_000 and row.task_status == "NIL" and row.call_site == "(put object)"
    assert state.summarize_objects()["cluster"]["total_size_mb"] > 0.2

    @ray.remote
    def makes():
        return b"x" * 300_000

    made = makes.remote()
    ray.wait([made])
    (row,) = state.get_objects(made.hex())
    assert row.call_site.endswith("makes") and row.task_status == "FINISHED" and row.pid == os.getpid()
    (node,) = state.list_nodes(detail=True)
    assert node.node_id == ray.get_runtime_context().get_node_id() and node.state == "ALIVE"
    assert node.resources_total["CPU"] == 2 and node.start_time_ms > 0 and state.get_node(node.node_id).node_id == node.node_id
    job = state.get_job(ray.get_runtime_context().get_job_id())
    assert job.status == "RUNNING" and job.driver_info["pid"] == str(os.getpid()) and job.start_time > 0
    assert all(w.is_alive and w.pid for w in state.list_workers(filters=[("is_alive", "=", "True")]))
    groups = load("util.placement_group")
    group = groups.placement_group([{"CPU": 1}], name="listed")
    assert group.wait(30)
    row = state.get_placement_group(group.id.hex())
    assert (row.name, row.state, row.bundles[0]["unit_resources"]["CPU"]) == ("listed", "CREATED", 1)
    groups.remove_placement_group(group)


def test_environments_and_events(ray, state):
    @ray.remote(runtime_env={"env_vars": {"LISTED": "1"}}, max_retries=0)
    def dies():
        os._exit(3)

    @ray.remote(runtime_env={"env_vars": {"LISTED": "2"}})
    class Keeps:
        pass

    keeps = Keeps.remote()
    ray.get(keeps.__ray_ready__.remote())
    (env,) = [e for e in state.list_runtime_envs(detail=True) if e.runtime_env.get("env_vars") == {"LISTED": "2"}]
    assert env.success and env.ref_cnt == 1
    ref = dies.remote()
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ref)
    events = state.list_cluster_events(filters=[("severity", "=", "ERROR")], limit=10_000)
    assert any(ref.task_id().hex() in e.message for e in events)


def test_wrong_questions(ray, state, load):
    error = load("util.state.exception").RayStateApiException
    with pytest.raises(ValueError, match="predicate"):
        state.list_tasks(filters=[("state", "<", "RUNNING")])
    with pytest.raises(error, match="not supported"):
        state.list_tasks(filters=[("colour", "=", "red")])
    with pytest.raises(error, match="connected to"):
        state.list_tasks(address="somewhere:6379")
    with pytest.raises(error, match="redirect"):
        state.get_log(task_id="1")
