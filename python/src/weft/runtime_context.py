"""What a program or task can ask about itself."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Optional

from weft import _devices, _environment, _state
from weft._ids import ActorID, JobID, NodeID, PlacementGroupID, TaskID
from weft._pb import session_pb2 as pb
from weft._remote import ActorHandle, HandleInfo, method_table

if TYPE_CHECKING:
    from weft.runtime_env import RuntimeEnv


class RuntimeContext:
    """Ids are hex; those of a task are None in a driver."""

    def get_job_id(self) -> str:
        return bytes(_state.current().info.job).hex()

    def get_node_id(self) -> str:
        return bytes(_state.current().info.node).hex()

    def get_worker_id(self) -> str:
        return f"{_state.current().info.worker:08x}"

    def get_task_id(self) -> Optional[str]:
        job = _state.running.get()
        return None if job is None else job.task.hex()

    def get_actor_id(self) -> Optional[str]:
        job = _state.running.get()
        return job.actor.hex() if job is not None and job.actor else None

    def get_task_name(self) -> Optional[str]:
        job = _state.running.get()
        return None if job is None else job.template.name

    def get_task_function_name(self) -> Optional[str]:
        job = _state.running.get()
        return None if job is None else job.template.function

    def get_actor_name(self) -> Optional[str]:
        """The name under which get_actor finds this actor, "" if none; None outside of actors."""
        actor = _actor()
        return None if actor is None else actor.name

    def get_placement_group_id(self) -> Optional[str]:
        template = _state.placed()
        return None if template is None or not template.strategy_group else template.strategy_group.hex()

    def get_assigned_resources(self) -> dict[str, float]:
        template = _state.placed()
        return {} if template is None else {k: v / 10_000 for k, v in template.resources.items()}

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The ids of the devices that the task or actor has, by resource; the process is shown no others."""
        return {name: _devices.ids(name) for name in _devices.NAMES}

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether what the task or actor submits runs in its placement group, unless it says otherwise."""
        return bool(_state.captured())

    def is_canceled(self) -> bool:
        job = _state.running.get()
        return job is not None and job.cancelled

    @property
    def was_current_actor_reconstructed(self) -> bool:
        job = _state.running.get()
        return job is not None and job.incarnation > 1

    @property
    def namespace(self) -> str:
        return str(_state.current().info.namespace)

    def get_runtime_env_string(self) -> str:
        """The environment of this process, as JSON."""
        return _environment.canonical(_state.current().runtime_env) or "{}"

    @property
    def runtime_env(self) -> RuntimeEnv:
        """The environment of this process, which what it starts has too unless it says otherwise."""
        from weft.runtime_env import RuntimeEnv

        return RuntimeEnv.deserialize(self.get_runtime_env_string())

    @property
    def current_actor(self) -> ActorHandle:
        """A handle of the actor that asks. Raises RuntimeError outside of actors."""
        actor = _actor()
        if actor is None:
            raise RuntimeError("This method is only available in an actor.")
        info = HandleInfo(actor.cls.__name__, method_table(actor.cls), actor.retries)
        return ActorHandle(_state.current(), actor.id, info, 0)

    @property
    def gcs_address(self) -> str:
        """The address that init takes."""
        return _state.current().address

    def get_node_labels(self) -> dict[str, str]:
        """The labels of this node."""
        own = self.get_node_id()
        found = json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what="nodes", id=b"{}")).json)["rows"]
        labels = next((row.get("labels") or {} for row in found if row["id"] == own), {})
        return {**labels, "ray.io/node-id": own}

    def get_temp_dir(self) -> str:
        """The folder of the node."""
        return os.path.dirname(self.gcs_address)

    def get_session_name(self) -> str:
        """A name for what the node has run since it started."""
        return f"session_{self.get_node_id()}"

    # Older forms.

    def get(self) -> dict[str, Any]:
        """The ids that there are, as objects."""
        ids = {"job_id": self.job_id, "node_id": self.node_id, "namespace": self.namespace, "task_id": self.task_id, "actor_id": self.actor_id}
        return {k: v for k, v in ids.items() if v is not None}

    @property
    def job_id(self) -> JobID:
        return JobID.from_hex(self.get_job_id())

    @property
    def node_id(self) -> NodeID:
        return NodeID.from_hex(self.get_node_id())

    @property
    def task_id(self) -> Optional[TaskID]:
        text = self.get_task_id()
        return None if text is None else TaskID.from_hex(text)

    @property
    def actor_id(self) -> Optional[ActorID]:
        text = self.get_actor_id()
        return None if text is None else ActorID.from_hex(text)

    @property
    def current_placement_group_id(self) -> PlacementGroupID:
        text = self.get_placement_group_id()
        return PlacementGroupID.nil() if text is None else PlacementGroupID.from_hex(text)

    @property
    def worker(self) -> Any:
        return self

    @property
    def mode(self) -> int:
        return 1 if _state.session is not None and _state.session.worker is not None else 0

    def get_attempt(self) -> int:
        """Which attempt of its task this is, from 1; 0 in a driver."""
        job = _state.running.get()
        return 0 if job is None else job.attempt

    def get_pid(self) -> int:
        return os.getpid()


def _actor() -> Any:
    """The _worker.Actor that asks."""
    job = _state.running.get()
    return _state.current().worker.actor if job is not None and job.actor else None


def get_runtime_context() -> RuntimeContext:
    """What the running task or program can ask about itself."""
    return RuntimeContext()
