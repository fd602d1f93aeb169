"""Settings of a job, as one object: ``init(job_config=…)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from weft._logging import LoggingConfig

LIFETIMES = ("detached", "non_detached")


class JobConfig:
    """Settings that init takes too, and ``default_actor_lifetime`` of actors that say none themselves.

    ``code_search_path`` are folders in which workers find modules. ``jvm_options`` are ignored.
    """

    def __init__(
        self, jvm_options: Optional[Sequence[str]] = None, code_search_path: Optional[Sequence[str]] = None,
        runtime_env: Optional[Mapping[str, Any]] = None, _client_job: bool = False, metadata: Optional[Mapping[str, str]] = None,
        ray_namespace: Optional[str] = None, default_actor_lifetime: str = "non_detached",
        _disable_job_level_lineage_reconstruction: bool = False, _py_driver_sys_path: Optional[Sequence[str]] = None,
    ) -> None:  # fmt: skip
        if not isinstance(code_search_path, (list, tuple, type(None))):
            raise TypeError(f"The type of code search path is incorrect: {type(code_search_path)}")
        self.jvm_options = list(jvm_options or ())
        self.code_search_path = list(code_search_path or ())
        self.metadata = dict(metadata or {})
        self.ray_namespace = ray_namespace
        self.py_logging_config: Optional[LoggingConfig] = None
        self.set_runtime_env(runtime_env)
        self.set_default_actor_lifetime(default_actor_lifetime)

    def set_metadata(self, key: str, value: str) -> None:
        self.metadata[key] = value

    def set_runtime_env(self, runtime_env: Optional[Mapping[str, Any]], validate: bool = False) -> None:
        from weft.runtime_env import RuntimeEnv

        self.runtime_env: Mapping[str, Any] = runtime_env or {}
        if validate and not isinstance(runtime_env, RuntimeEnv):
            self.runtime_env = RuntimeEnv(**self.runtime_env)

    def set_ray_namespace(self, ray_namespace: str) -> None:
        self.ray_namespace = ray_namespace

    def set_py_logging_config(self, logging_config: Optional[LoggingConfig] = None) -> None:
        self.py_logging_config = logging_config

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        if default_actor_lifetime not in LIFETIMES:
            raise ValueError("Default actor lifetime must be one of `detached`, `non_detached`")
        self.default_actor_lifetime = default_actor_lifetime

    @classmethod
    def from_json(cls, job_config_json: Mapping[str, Any]) -> JobConfig:
        """Of a dict with the names of the arguments."""
        return cls(
            jvm_options=job_config_json.get("jvm_options"), code_search_path=job_config_json.get("code_search_path"),
            runtime_env=job_config_json.get("runtime_env"), metadata=job_config_json.get("metadata"),
            ray_namespace=job_config_json.get("ray_namespace"),
            default_actor_lifetime=job_config_json.get("default_actor_lifetime", "non_detached"),
        )  # fmt: skip
