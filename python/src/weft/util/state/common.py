"""The rows of weft.util.state: what is known of each thing, and which fields can be filtered by or are details."""

# ruff: noqa: RUF009  the calls in fields are dataclasses.field

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any, Optional, Union

DEFAULT_RPC_TIMEOUT = 30
"""Seconds. Weft asks its own node, which does not wait for others."""
DEFAULT_LIMIT = 100
RAY_MAX_LIMIT_FROM_API_SERVER = 10_000
RAY_MAX_LIMIT_FROM_DATA_SOURCE = 10_000

SupportedFilterType = Union[str, bool, int, float]
PredicateType = str


class StateResource(enum.Enum):
    """What can be listed."""

    ACTORS = "actors"
    JOBS = "jobs"
    PLACEMENT_GROUPS = "placement_groups"
    NODES = "nodes"
    WORKERS = "workers"
    TASKS = "tasks"
    OBJECTS = "objects"
    RUNTIME_ENVS = "runtime_envs"
    CLUSTER_EVENTS = "cluster_events"


class SummaryResource(enum.Enum):
    """What can be summed up."""

    ACTORS = "actors"
    TASKS = "tasks"
    OBJECTS = "objects"


@dataclass
class ListApiOptions:
    """How to list."""

    limit: int = DEFAULT_LIMIT
    timeout: int = DEFAULT_RPC_TIMEOUT
    detail: bool = False
    filters: Optional[list[tuple[str, PredicateType, SupportedFilterType]]] = None
    exclude_driver: bool = True

    def __post_init__(self) -> None:
        self.filters = list(self.filters or [])
        for given in self.filters:
            if len(given) != 3:
                raise ValueError(f"The given filter has incorrect input type, {given}. Provide (key, predicate, value) tuples.")
            if given[1] not in ("=", "!="):
                raise ValueError(f"Unsupported filter predicate {given[1]} is given. Available predicates: =, !=.")
        if self.limit > RAY_MAX_LIMIT_FROM_API_SERVER:
            raise ValueError(f"Given limit {self.limit} exceeds the supported limit {RAY_MAX_LIMIT_FROM_API_SERVER}. Use a lower limit.")


@dataclass
class GetApiOptions:
    """How to get one row."""

    timeout: int = DEFAULT_RPC_TIMEOUT


@dataclass
class SummaryApiOptions:
    """How to sum up."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    filters: Optional[list[tuple[str, PredicateType, SupportedFilterType]]] = None
    summary_by: Optional[str] = None


def state_column(*, filterable: bool, detail: bool = False, **kwargs: Any) -> Any:
    """A field of a row. Those that are details have None as their default."""
    if detail:
        kwargs.setdefault("default", None)
    return dataclasses.field(metadata={"filterable": filterable, "detail": detail}, **kwargs)


class StateSchema:
    """A row. Its fields are attributes and can be read as items."""

    @classmethod
    def list_columns(cls, detail: bool = True) -> list[str]:
        return [f.name for f in dataclasses.fields(cls) if detail or not f.metadata.get("detail")]  # type: ignore[arg-type]

    @classmethod
    def columns(cls) -> set[str]:
        return set(cls.list_columns())

    @classmethod
    def filterable_columns(cls) -> set[str]:
        return {f.name for f in dataclasses.fields(cls) if f.metadata.get("filterable")}  # type: ignore[arg-type]

    @classmethod
    def base_columns(cls) -> set[str]:
        return set(cls.list_columns(detail=False))

    @classmethod
    def detail_columns(cls) -> set[str]:
        return cls.columns()

    def asdict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)


def _shown() -> Any:
    return state_column(filterable=False)


def _filterable() -> Any:
    return state_column(filterable=True)


def _detail() -> Any:
    return state_column(filterable=False, detail=True)


def _filterable_detail() -> Any:
    return state_column(filterable=True, detail=True)


@dataclass
class ActorState(StateSchema):
    """An actor, living or dead."""

    actor_id: str = _filterable()
    class_name: str = _filterable()
    state: str = _filterable()
    job_id: str = _filterable()
    name: Optional[str] = _filterable()
    node_id: Optional[str] = _filterable()
    pid: Optional[int] = _filterable()
    ray_namespace: Optional[str] = _filterable()
    serialized_runtime_env: Optional[str] = _detail()
    required_resources: Optional[dict[str, float]] = _detail()
    death_cause: Optional[dict[str, Any]] = _detail()
    is_detached: Optional[bool] = _detail()
    placement_group_id: Optional[str] = _filterable_detail()
    repr_name: Optional[str] = _filterable_detail()
    num_restarts: int = _detail()
    num_restarts_due_to_lineage_reconstruction: int = _detail()
    num_restarts_due_to_node_preemption: int = _detail()
    call_site: Optional[str] = _detail()
    label_selector: Optional[dict[str, str]] = _detail()
    fallback_strategy: Optional[dict[str, Any]] = _detail()


@dataclass
class PlacementGroupState(StateSchema):
    """A placement group."""

    placement_group_id: str = _filterable()
    name: str = _filterable()
    creator_job_id: str = _filterable()
    state: str = _filterable()
    bundles: Optional[list[dict[str, Any]]] = _detail()
    is_detached: Optional[bool] = _filterable_detail()
    stats: Optional[dict[str, Any]] = _detail()


@dataclass
class NodeState(StateSchema):
    """A node."""

    node_id: str = _filterable()
    node_ip: str = _filterable()
    is_head_node: bool = _filterable()
    state: str = _filterable()
    state_message: Optional[str] = _shown()
    node_name: str = _filterable()
    resources_total: dict[str, float] = _shown()
    labels: dict[str, str] = _shown()
    start_time_ms: Optional[int] = _detail()
    end_time_ms: Optional[int] = _detail()


@dataclass
class JobState(StateSchema):
    """A driver's work, or that of a job that was submitted."""

    type: str = _filterable()
    job_id: Optional[str] = _filterable()
    submission_id: Optional[str] = _filterable()
    driver_info: Optional[dict[str, Any]] = _shown()
    status: str = _filterable()
    entrypoint: str = _shown()
    message: Optional[str] = _shown()
    error_type: Optional[str] = _shown()
    start_time: Optional[int] = _detail()
    end_time: Optional[int] = _detail()
    metadata: Optional[dict[str, str]] = _detail()
    runtime_env: Optional[dict[str, Any]] = _detail()
    driver_agent_http_address: Optional[str] = _detail()
    driver_node_id: Optional[str] = _detail()
    driver_exit_code: Optional[int] = _detail()


@dataclass
class WorkerState(StateSchema):
    """A process that runs tasks."""

    worker_id: str = _filterable()
    is_alive: bool = _filterable()
    worker_type: str = _filterable()
    exit_type: Optional[str] = _filterable()
    node_id: str = _filterable()
    ip: str = _filterable()
    pid: int = _filterable()
    exit_detail: Optional[str] = _detail()
    worker_launch_time_ms: Optional[int] = _detail()
    worker_launched_time_ms: Optional[int] = _detail()
    start_time_ms: Optional[int] = _detail()
    end_time_ms: Optional[int] = _detail()
    debugger_port: Optional[int] = _filterable_detail()
    num_paused_threads: Optional[int] = _filterable_detail()


@dataclass
class ClusterEventState(StateSchema):
    """Something that happened and is worth knowing."""

    severity: str = _filterable()
    time: str = _shown()
    source_type: str = _filterable()
    message: str = _shown()
    event_id: str = _filterable()
    custom_fields: Optional[dict[str, Any]] = _detail()


@dataclass
class TaskState(StateSchema):
    """A task, or a call of an actor: the attempt that runs or was the last."""

    task_id: str = _filterable()
    attempt_number: int = _filterable()
    name: str = _filterable()
    state: str = _filterable()
    job_id: str = _filterable()
    actor_id: Optional[str] = _filterable()
    type: str = _filterable()
    func_or_class_name: str = _filterable()
    parent_task_id: str = _filterable()
    node_id: Optional[str] = _filterable()
    worker_id: Optional[str] = _filterable()
    worker_pid: Optional[int] = _filterable()
    error_type: Optional[str] = _filterable()
    language: Optional[str] = _filterable_detail()
    required_resources: Optional[dict[str, float]] = _detail()
    runtime_env_info: Optional[dict[str, Any]] = _detail()
    placement_group_id: Optional[str] = _filterable_detail()
    events: Optional[list[dict[str, Any]]] = _detail()
    profiling_data: Optional[dict[str, Any]] = _detail()
    creation_time_ms: Optional[int] = _detail()
    start_time_ms: Optional[int] = _detail()
    end_time_ms: Optional[int] = _detail()
    task_log_info: Optional[dict[str, Any]] = _detail()
    error_message: Optional[str] = _detail()
    is_debugger_paused: Optional[bool] = _filterable_detail()
    call_site: Optional[str] = _detail()
    label_selector: Optional[dict[str, str]] = _detail()
    fallback_strategy: Optional[dict[str, Any]] = _detail()


@dataclass
class ObjectState(StateSchema):
    """An object that is referenced."""

    object_id: str = _filterable()
    object_size: int = _filterable()
    task_status: str = _filterable()
    attempt_number: int = _filterable()
    reference_type: str = _filterable()
    call_site: str = _filterable()
    type: str = _filterable()
    pid: int = _filterable()
    ip: str = _filterable()


@dataclass
class RuntimeEnvState(StateSchema):
    """A runtime environment that processes have."""

    runtime_env: dict[str, Any] = _filterable()
    success: bool = _filterable()
    creation_time_ms: Optional[float] = _shown()
    node_id: str = _filterable()
    ref_cnt: Optional[int] = _detail()
    error: Optional[str] = _filterable_detail()


AVAILABLE_STATES = [ActorState, PlacementGroupState, NodeState, WorkerState, JobState, TaskState, ObjectState, RuntimeEnvState]
