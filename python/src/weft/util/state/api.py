"""The functions of weft.util.state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from typing import Any, Callable, Optional, Union

from weft import _state
from weft._refs import ObjectRef
from weft.util.state import common, rows
from weft.util.state.common import (
    DEFAULT_LIMIT,
    DEFAULT_RPC_TIMEOUT,
    ActorState,
    ClusterEventState,
    GetApiOptions,
    JobState,
    ListApiOptions,
    NodeState,
    ObjectState,
    PlacementGroupState,
    PredicateType,
    RuntimeEnvState,
    StateResource,
    SummaryApiOptions,
    SummaryResource,
    SupportedFilterType,
    TaskState,
    WorkerState,
)
from weft.util.state.exception import RayStateApiException, ServerUnavailable

Filters = Optional[list[tuple[str, PredicateType, SupportedFilterType]]]

_SCHEMAS: dict[StateResource, Any] = {
    StateResource.ACTORS: ActorState,
    StateResource.JOBS: JobState,
    StateResource.PLACEMENT_GROUPS: PlacementGroupState,
    StateResource.NODES: NodeState,
    StateResource.WORKERS: WorkerState,
    StateResource.TASKS: TaskState,
    StateResource.OBJECTS: ObjectState,
    StateResource.RUNTIME_ENVS: RuntimeEnvState,
    StateResource.CLUSTER_EVENTS: ClusterEventState,
}

_IDS = {
    StateResource.NODES: "node_id",
    StateResource.ACTORS: "actor_id",
    StateResource.PLACEMENT_GROUPS: "placement_group_id",
    StateResource.WORKERS: "worker_id",
    StateResource.TASKS: "task_id",
    StateResource.OBJECTS: "object_id",
}


class StateApiClient:
    """Asks this program's node. ``address`` may name that node, or be None."""

    def __init__(self, address: Optional[str] = None, cookies: Any = None, headers: Any = None) -> None:
        session = _state.current()
        if address not in (None, "auto", session.address):
            raise ServerUnavailable(f"this program is connected to {session.address}, not to {address}; call weft.init({address!r}) first")

    def list(self, resource: StateResource, options: ListApiOptions, raise_on_missing_output: bool = True, _explain: bool = False) -> list[Any]:
        """At most ``options.limit`` rows that match all filters."""
        schema = _SCHEMAS[resource]
        match = _matcher(schema, options.filters or [])
        limit = common.RAY_MAX_LIMIT_FROM_DATA_SOURCE if options.filters else options.limit
        found, total = rows.fetch(resource, limit)
        if options.filters and total > len(found) and raise_on_missing_output:
            raise RayStateApiException(
                f"Only {len(found)} of {total} {resource.value} could be looked at. Pass raise_on_missing_output=False to have what is among these."
            )
        found = [r for r in found if match(r)][: options.limit]
        return [_row(schema, r, options.detail) for r in found]

    def get(self, resource: StateResource, id: str, options: Optional[GetApiOptions] = None, _explain: bool = False) -> Any:
        """The row with an id, with its details; None if there is none. Of objects a list."""
        if resource is StateResource.JOBS:
            key = "job_id"
        elif resource in _IDS:
            key = _IDS[resource]
        else:
            raise ValueError(f"Can't get {resource.name} by id.")
        found = self.list(resource, ListApiOptions(filters=[(key, "=", id)], detail=True), False)
        if resource is StateResource.OBJECTS:
            return found
        return found[0] if found else None

    def summary(
        self, resource: SummaryResource, *, options: Optional[SummaryApiOptions] = None, raise_on_missing_output: bool = True, _explain: bool = False
    ) -> dict[str, Any]:
        """Counts by function, class or call site, under "cluster"."""
        what = StateResource(resource.value)
        filters = options.filters if options else None
        found, total = rows.fetch(what, common.RAY_MAX_LIMIT_FROM_DATA_SOURCE)
        if total > len(found) and raise_on_missing_output:
            raise RayStateApiException(
                f"Only {len(found)} of {total} {what.value} could be looked at. Pass raise_on_missing_output=False to count these."
            )
        match = _matcher(_SCHEMAS[what], filters or [])
        return {"cluster": _SUMMARIES[resource]([r for r in found if match(r)])}


def _row(schema: Any, row: dict[str, Any], detail: bool) -> Any:
    return schema(**{c: row.get(c) for c in schema.list_columns(detail)})


def _matcher(schema: Any, filters: Iterable[tuple[str, str, Any]]) -> Callable[[dict[str, Any]], bool]:
    columns = schema.filterable_columns()
    tests = [(key.lower(), predicate == "=", wanted) for key, predicate, wanted in filters]
    for key, _, _ in tests:
        if key not in columns:
            raise RayStateApiException(f"The given filter column {key} is not supported. Supported filter columns: {sorted(columns)}")
    return lambda row: all(_equal(row.get(key), wanted) == positive for key, positive, wanted in tests)


def _equal(have: Any, wanted: Any) -> bool:
    """Whether a field has the value; text compares without regard to case, and a text with what it says."""
    if isinstance(wanted, str):
        if isinstance(have, bool):
            return have == (wanted.lower() in ("true", "1"))
        return str("" if have is None else have).lower() == wanted.lower()
    return bool(have == wanted)


def _summary_of_tasks(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for t in tasks:
        row = summary.setdefault(t["name"], {"func_or_class_name": t["name"], "type": t["type"], "state_counts": Counter()})
        row["state_counts"][t["state"]] += 1
    kinds = Counter(t["type"] for t in tasks)
    return {
        "summary": _plain(summary), "total_tasks": kinds["NORMAL_TASK"], "total_actor_tasks": kinds["ACTOR_TASK"],
        "total_actor_scheduled": kinds["ACTOR_CREATION_TASK"], "summary_by": "func_name",
    }  # fmt: skip


def _summary_of_actors(actors: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for a in actors:
        row = summary.setdefault(a["class_name"], {"class_name": a["class_name"], "state_counts": Counter()})
        row["state_counts"][a["state"]] += 1
    return {"summary": _plain(summary), "total_actors": len(actors), "summary_by": "class"}


def _summary_of_objects(objects: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for o in objects:
        row = summary.setdefault(o["call_site"], {
            "total_objects": 0, "total_size_mb": 0.0, "total_num_workers": 1, "total_num_nodes": 1, "task_state_counts": Counter(),
            "task_attempt_number_counts": Counter(), "ref_type_counts": Counter(),
        })  # fmt: skip
        row["total_objects"] += 1
        row["total_size_mb"] += o["object_size"] / 1024**2
        row["task_state_counts"][o["task_status"]] += 1
        row["task_attempt_number_counts"][str(o["attempt_number"])] += 1
        row["ref_type_counts"][o["reference_type"]] += 1
    size = sum(o["object_size"] for o in objects) / 1024**2
    return {"summary": _plain(summary), "total_objects": len(objects), "total_size_mb": size, "callsite_enabled": True, "summary_by": "callsite"}


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    return {k: {f: dict(v) if isinstance(v, Counter) else v for f, v in row.items()} for k, row in summary.items()}


_SUMMARIES = {SummaryResource.TASKS: _summary_of_tasks, SummaryResource.ACTORS: _summary_of_actors, SummaryResource.OBJECTS: _summary_of_objects}


def _get(resource: StateResource, id: str, address: Optional[str]) -> Any:
    return StateApiClient(address).get(resource, id)


def _list(resource: StateResource, address: Optional[str], filters: Filters, limit: int, detail: bool, complete: bool) -> list[Any]:
    return StateApiClient(address).list(resource, ListApiOptions(limit=limit, filters=filters, detail=detail), complete)


def get_actor(id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False) -> Optional[ActorState]:
    """An actor; None if there is none of that id."""
    return _get(StateResource.ACTORS, id, address)  # type: ignore[no-any-return]


def get_job(id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False) -> Optional[JobState]:
    """A job, by the id that its rows have; None if there is none of that id."""
    return _get(StateResource.JOBS, id, address)  # type: ignore[no-any-return]


def get_placement_group(
    id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[PlacementGroupState]:
    """A placement group; None if there is none of that id."""
    return _get(StateResource.PLACEMENT_GROUPS, id, address)  # type: ignore[no-any-return]


def get_node(id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False) -> Optional[NodeState]:
    """A node; None if there is none of that id."""
    return _get(StateResource.NODES, id, address)  # type: ignore[no-any-return]


def get_worker(id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False) -> Optional[WorkerState]:
    """A worker; None if there is none of that id."""
    return _get(StateResource.WORKERS, id, address)  # type: ignore[no-any-return]


def get_task(
    id: Union[str, ObjectRef[Any]], address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[TaskState]:
    """A task, by its id or a reference to a result; None if it is not known any more."""
    return _get(StateResource.TASKS, id if isinstance(id, str) else id.task_id().hex(), address)  # type: ignore[no-any-return]


def get_objects(id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False) -> list[ObjectState]:
    """The object of that id, as a list of at most one."""
    return _get(StateResource.OBJECTS, id, address)  # type: ignore[no-any-return]


def list_actors(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[ActorState]:  # fmt: skip
    """Actors, those that died lately included. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.ACTORS, address, filters, limit, detail, raise_on_missing_output)


def list_placement_groups(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[PlacementGroupState]:  # fmt: skip
    """Placement groups. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.PLACEMENT_GROUPS, address, filters, limit, detail, raise_on_missing_output)


def list_nodes(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[NodeState]:  # fmt: skip
    """Nodes. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.NODES, address, filters, limit, detail, raise_on_missing_output)


def list_jobs(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[JobState]:  # fmt: skip
    """Jobs that run. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.JOBS, address, filters, limit, detail, raise_on_missing_output)


def list_workers(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[WorkerState]:  # fmt: skip
    """Worker processes. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.WORKERS, address, filters, limit, detail, raise_on_missing_output)


def list_tasks(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[TaskState]:  # fmt: skip
    """Tasks and calls: those that live, and those whose end the node still remembers. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.TASKS, address, filters, limit, detail, raise_on_missing_output)


def list_objects(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[ObjectState]:  # fmt: skip
    """Objects that are referenced. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.OBJECTS, address, filters, limit, detail, raise_on_missing_output)


def list_runtime_envs(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[RuntimeEnvState]:  # fmt: skip
    """Runtime environments that processes have. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.RUNTIME_ENVS, address, filters, limit, detail, raise_on_missing_output)


def list_cluster_events(
    address: Optional[str] = None, filters: Filters = None, limit: int = DEFAULT_LIMIT, timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False, raise_on_missing_output: bool = True, _explain: bool = False,
) -> list[ClusterEventState]:  # fmt: skip
    """What happened and is always kept, such as failures, starts and ends. Filters are (field, "=" or "!=", value)."""
    return _list(StateResource.CLUSTER_EVENTS, address, filters, limit, detail, raise_on_missing_output)


def summarize_tasks(
    address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, raise_on_missing_output: bool = True, _explain: bool = False
) -> dict[str, Any]:
    """Counts of tasks by function and state."""
    return StateApiClient(address).summary(SummaryResource.TASKS, raise_on_missing_output=raise_on_missing_output)


def summarize_actors(
    address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, raise_on_missing_output: bool = True, _explain: bool = False
) -> dict[str, Any]:
    """Counts of actors by class and state."""
    return StateApiClient(address).summary(SummaryResource.ACTORS, raise_on_missing_output=raise_on_missing_output)


def summarize_objects(
    address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, raise_on_missing_output: bool = True, _explain: bool = False
) -> dict[str, Any]:
    """Counts and sizes of objects by the task that makes them."""
    return StateApiClient(address).summary(SummaryResource.OBJECTS, raise_on_missing_output=raise_on_missing_output)


def list_logs(
    address: Optional[str] = None, node_id: Optional[str] = None, node_ip: Optional[str] = None, glob_filter: Optional[str] = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
) -> dict[str, list[str]]:  # fmt: skip
    """Files with what workers printed: none, since it goes to the program that started the job."""
    return {}


def get_log(
    address: Optional[str] = None, node_id: Optional[str] = None, node_ip: Optional[str] = None, filename: Optional[str] = None,
    actor_id: Optional[str] = None, task_id: Optional[str] = None, pid: Optional[int] = None, follow: bool = False, tail: int = -1,
    timeout: int = DEFAULT_RPC_TIMEOUT, suffix: str = "out", encoding: Optional[str] = "utf-8", errors: Optional[str] = "strict",
    submission_id: Optional[str] = None, attempt_number: int = 0, _interval: Optional[float] = None, filter_ansi_code: bool = False,
) -> Generator[str, None, None]:  # fmt: skip
    """Raises RayStateApiException: a node keeps no files of what its workers print."""
    raise RayStateApiException(
        "What workers print goes to the program that started their job, with the task's name before each line, and not into files; "
        "redirect that program's output to keep it. A task that failed has its traceback in get_task(id).error_message."
    )
