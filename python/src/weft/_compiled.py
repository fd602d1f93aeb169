"""What stands for ``ray._raylet``, Ray's compiled part, under modules of genuine Ray: the ids and references are Weft's, and any
other name is a class that says what it is when it is used.
"""

from __future__ import annotations

from typing import Any

from weft._ids import ActorClassID, ActorID, ClusterID, FunctionID, JobID, NodeID, PlacementGroupID, TaskID, UniqueID, WorkerID
from weft._refs import ObjectRef, ObjectRefGenerator
from weft._refs import ObjectRef as ObjectID

__all__ = [
    "ActorClassID", "ActorID", "ClusterID", "FunctionID", "JobID", "NodeID", "ObjectID", "ObjectRef", "ObjectRefGenerator", "PlacementGroupID",
    "TaskID", "UniqueID", "WorkerID", "get_localhost_ip",
]  # fmt: skip


def get_localhost_ip() -> str:
    """The address of this machine for itself."""
    return "127.0.0.1"


class _Refuses(type):
    """The class of names that Weft does not have."""

    def __call__(cls, *_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError(f"ray._raylet.{cls.__name__} is a compiled part of Ray, which does not run on Weft")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"ray._raylet.{cls.__name__}.{name} is a compiled part of Ray, which does not run on Weft")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    made = globals()[name] = _Refuses(name, (), {})
    return made
