"""What the node knows of tasks, actors, objects, workers, nodes, jobs and placement groups, as rows.

    from weft.util.state import list_tasks, summarize_tasks

    for task in list_tasks(filters=[("state", "=", "RUNNING")], detail=True):
        print(task.name, task.worker_pid)
    print(summarize_tasks()["cluster"]["summary"])

``weft list`` shows the same from outside, and ``weft why ID`` says what something waits for.
"""

from weft.util.state.api import (
    StateApiClient,
    get_actor,
    get_job,
    get_log,
    get_node,
    get_objects,
    get_placement_group,
    get_task,
    get_worker,
    list_actors,
    list_cluster_events,
    list_jobs,
    list_logs,
    list_nodes,
    list_objects,
    list_placement_groups,
    list_runtime_envs,
    list_tasks,
    list_workers,
    summarize_actors,
    summarize_objects,
    summarize_tasks,
)

__all__ = [
    "StateApiClient", "get_actor", "get_job", "get_log", "get_node", "get_objects", "get_placement_group", "get_task", "get_worker",
    "list_actors", "list_cluster_events", "list_jobs", "list_logs", "list_nodes", "list_objects", "list_placement_groups", "list_runtime_envs",
    "list_tasks", "list_workers", "summarize_actors", "summarize_objects", "summarize_tasks",
]  # fmt: skip
