"""``from ray.util.client import ray``: the package itself, with what a client may ask of its connection."""

from __future__ import annotations

from typing import Any

import weft
from weft.util.client_connect import connect, disconnect


class RayAPIStub:
    """The names of the package, and those of a connection."""

    connect = staticmethod(connect)
    disconnect = staticmethod(disconnect)
    is_connected = staticmethod(lambda: num_connected_contexts() > 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(weft, name)


ray = RayAPIStub()


def num_connected_contexts() -> int:
    """How many clusters this program has joined from outside: one or none."""
    from weft import _api, _outside

    return int(weft.is_initialized() and isinstance(_api._node_here, _outside.Proxy))
