"""Tools on top of tasks and actors, under the names of ``ray.util``.

Submodules that cost time to import (collective, dask, joblib, multiprocessing, iter and so on) are loaded when first
used.
"""

from __future__ import annotations

import importlib
import os
import socket
from typing import Any

from weft import _state
from weft.util import accelerators
from weft.util.actor_pool import ActorPool
from weft.util.check_serialize import inspect_serializability
from weft.util.client_connect import connect, disconnect
from weft.util.debug import disable_log_once_globally, enable_periodic_logging, log_once
from weft.util.helpers import as_completed, map_unordered
from weft.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from weft.util.serialization import deregister_serializer, register_serializer

__all__ = [
    "ActorPool",
    "accelerators",
    "as_completed",
    "collective",
    "connect",
    "deregister_serializer",
    "disable_log_once_globally",
    "disconnect",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "iter",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
]

_LAZY = frozenset(
    (
        "actor_group",
        "annotations",
        "client",
        "client_connect",
        "collective",
        "dask",
        "iter",
        "joblib",
        "metrics",
        "multiprocessing",
        "queue",
        "scheduling_strategies",
        "state",
        "timer",
    )
)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of the living named actors of this namespace.

    With ``all_namespaces`` those of all, each as a dict of name and namespace.
    """
    from weft import _api

    return list(_api.list_named_actors(all_namespaces))


def get_node_ip_address(address: str = "8.8.8.8:53") -> str:
    """The address other machines reach this one by: the node's, of a program that is connected.

    Else that of the interface a packet to ``address`` would leave from, of which nothing is sent; 127.0.0.1 if there is none.
    """
    if _state.session is not None and _state.session.error is None and _state.session.info.ip:
        return str(_state.session.info.ip)
    host, port = address.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect((host, int(port)))
            return str(s.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def get_node_instance_id() -> str:
    """The id that the cloud gave this machine (RAY_CLOUD_INSTANCE_ID), "" if none."""
    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")
