"""Weft runs any Python function or class on one machine or on a thousand: tasks, actors and shared objects.

    import weft

    @weft.remote
    def square(x):
        return x * x

    print(weft.get([square.remote(i) for i in range(4)]))    # [0, 1, 4, 9]

The names, arguments and exceptions are those of Ray's Core, so ``import weft as ray`` fits.
"""

from __future__ import annotations

from typing import Any

from weft import exceptions
from weft._api import (
    RAY,
    available_resources,
    cancel,
    cluster_resources,
    exit_actor,
    get,
    get_actor,
    get_gpu_ids,
    init,
    is_initialized,
    kill,
    nodes,
    put,
    remote,
    shutdown,
    timeline,
    wait,
)
from weft._cross import go_actor, go_function, portable
from weft._ids import ActorClassID, ActorID, ClusterID, FunctionID, JobID, NodeID, PlacementGroupID, TaskID, UniqueID, WorkerID
from weft._logging import LoggingConfig
from weft._refs import ObjectRef, ObjectRefGenerator
from weft._refs import ObjectRef as ObjectID
from weft._remote import method
from weft.client_builder import ClientBuilder, client
from weft.runtime_context import get_runtime_context

__version__ = RAY
__commit__ = "weft"
SCRIPT_MODE, WORKER_MODE = 0, 1

__all__ = [
    "SCRIPT_MODE", "WORKER_MODE", "ActorClassID", "ActorID", "ClientBuilder", "ClusterID", "FunctionID", "JobID", "LoggingConfig", "NodeID",
    "ObjectID", "ObjectRef", "ObjectRefGenerator", "PlacementGroupID", "TaskID", "UniqueID", "WorkerID", "actor", "available_resources", "cancel",
    "client", "cluster_resources", "dag", "exceptions", "exit_actor", "get", "get_actor", "get_gpu_ids", "get_runtime_context", "go_actor",
    "go_function", "init", "is_initialized", "kill", "method", "nodes", "portable", "put", "remote", "runtime_env", "shutdown", "timeline", "util",
    "wait",
]  # fmt: skip

_LAZY = ("actor", "cloudpickle", "job_config", "remote_function", "dag", "runtime_env", "util", "types", "experimental")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return importlib.import_module(f"weft.{name}")
    raise AttributeError(f"module 'weft' has no attribute {name!r}")
