"""Where objects are."""

from __future__ import annotations

import json
from typing import Any

from weft import _state
from weft import exceptions as ex
from weft._pb import session_pb2 as pb
from weft._refs import ObjectRef


def get_object_locations(obj_refs: list[ObjectRef[Any]], timeout_ms: int = -1) -> dict[ObjectRef[Any], dict[str, Any]]:
    """For each object ``node_ids`` (hex) that have it, ``object_size`` in bytes, and ``did_spill``.

    One that does not exist yet has no nodes, and a size of None. Raises GetTimeoutError if ``timeout_ms`` is 0: asking
    takes some time. RuntimeError without a session.
    """
    if _state.session is None:
        raise RuntimeError("weft.init() has not been called yet.")
    if timeout_ms == 0 and obj_refs:
        raise ex.GetTimeoutError("Where objects are is not known after 0 ms.")
    return {ref: _location(ref) for ref in obj_refs}


def get_local_object_locations(obj_refs: list[ObjectRef[Any]]) -> dict[ObjectRef[Any], dict[str, Any]]:
    """Is get_object_locations as far as this node knows."""
    return get_object_locations(obj_refs)


def _location(ref: ObjectRef[Any]) -> dict[str, Any]:
    try:
        found = json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what="object", id=ref.binary())).json)
    except Exception:  # it is not there, or an error
        return {"node_ids": [], "object_size": None, "did_spill": False}
    return {"node_ids": found["nodes"], "object_size": found["size"], "did_spill": found["place"] == "disk"}
