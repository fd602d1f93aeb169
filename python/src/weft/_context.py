"""What a program or task can ask about itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

from weft import _environment, _state

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
        job = _state.running.get()
        return None if job is None or not job.actor else job.template.actor.name

    def get_placement_group_id(self) -> Optional[str]:
        job = _state.running.get()
        return None if job is None or not job.template.strategy_group else job.template.strategy_group.hex()

    def get_assigned_resources(self) -> dict[str, float]:
        job = _state.running.get()
        return {} if job is None else {k: v / 10_000 for k, v in job.template.resources.items()}

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


def get_runtime_context() -> RuntimeContext:
    """What the running task or program can ask about itself."""
    return RuntimeContext()
