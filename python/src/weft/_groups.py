"""Placement groups, as weft.util.placement_group asks for them."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Optional

from weft import _options, _state
from weft._pb import session_pb2 as pb

_LAYOUTS = {"PACK": 0, "SPREAD": 1, "STRICT_PACK": 2, "STRICT_SPREAD": 3}


class _Group:
    def __init__(self, bundles: list[dict[str, float]], strategy: str, name: str, request: int) -> None:
        self.bundles, self.strategy, self.name, self.request = bundles, strategy, name, request
        self.removed = False


_REMEMBERED = 1000
"""Groups that were removed and that table() still shows."""

_lock = threading.Lock()


def create(bundles: list[dict[str, float]], layout: str, name: str, detached: bool, selectors: Any) -> bytes:
    """Asks for a group; the answer is waited for by wait()."""
    session = _state.current()
    gid = session.new_id()
    m = pb.Group(request=next(session._requests), group=gid, layout=_LAYOUTS[layout], name=name, detached=detached)
    for i, bundle in enumerate(bundles):
        b = m.bundles.add()
        for resource, amount in bundle.items():
            b.resources[resource] = round(amount * 10_000)
        for key, value in (selectors[i] if selectors else {}).items():
            _options._term(b.selector.add(), key, value)
    session._answers[m.request] = None
    with _lock:
        session.groups[gid] = _Group(bundles, layout, name, m.request)
    session.send(pb.KIND_GROUP, m)
    return gid


def wait(gid: bytes, timeout: Optional[float]) -> bool:
    """Whether the group has its resources within ``timeout`` seconds. One that can never have them does not."""
    session = _state.current()
    group = session.groups.get(gid)
    if group is None:
        return _wait_for_another(gid, timeout)
    with session.blocked():
        session.wait_until(lambda: session._answers.get(group.request) is not None, timeout)
    reply = session._answers.get(group.request)
    return reply is not None and not reply.HasField("error")


def _wait_for_another(gid: bytes, timeout: Optional[float]) -> bool:
    """wait() for a group that another process has asked for, and that it hears nothing of."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.005
    with _state.current().blocked():
        while True:
            row = next((row for row in _known() if row["id"] == gid.hex()), None)
            left = pause if deadline is None else deadline - time.monotonic()
            if row is None or row["state"] == "CREATED" or left <= 0:
                return row is not None and row["state"] == "CREATED"
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.5)


def ready_ref(gid: bytes) -> Any:
    """A reference to the group, which is there when it has its resources."""
    from weft._remote import RemoteFunction
    from weft.util.placement_group import PlacementGroup
    from weft.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = _state.current().groups.get(gid)
    whole = PlacementGroup(_id(gid), group.bundles if group is not None else None)
    strategy = PlacementGroupSchedulingStrategy(whole)
    return RemoteFunction(_same, {"num_cpus": 0, "scheduling_strategy": strategy}).remote(whole)


def _same(value: Any) -> Any:
    return value


def _id(gid: bytes) -> Any:
    from weft._ids import PlacementGroupID

    return PlacementGroupID(gid)


def remove(gid: bytes) -> None:
    """Gives the group's resources back."""
    session = _state.current()
    group = session.groups.get(gid)
    if group is not None:
        group.removed = True
        session._answers.pop(group.request, None)
        _forget(session.groups)
    session.send(pb.KIND_UNGROUP, pb.Group(group=gid))


def _forget(groups: dict[bytes, _Group]) -> None:
    """Drops the oldest groups that were removed, beyond those remembered."""
    with _lock:
        removed = [gid for gid, group in groups.items() if group.removed]
        for gid in removed[: max(len(removed) - _REMEMBERED, 0)]:
            del groups[gid]


def lookup(name: str) -> Optional[bytes]:
    """The living group of that name."""
    for gid, group in _state.current().groups.items():
        if group.name == name and not group.removed:
            return gid
    return next((bytes.fromhex(row["id"]) for row in _known() if row.get("name") == name), None)


def table(gid: Optional[bytes]) -> dict[str, Any]:
    """A row for the group, or rows of all, by hex id. ValueError if nobody knows it."""
    rows = {row["id"]: _shown(row) for row in _known()}
    rows.update({g.hex(): _row(g, group, rows.get(g.hex())) for g, group in list(_state.current().groups.items())})
    if gid is None:
        return rows
    if gid.hex() not in rows:
        raise ValueError(f"placement group {gid.hex()} was removed, or has never been")
    return rows[gid.hex()]


def _known() -> list[dict[str, Any]]:
    """The groups that there are, as the nodes list them."""
    query = json.dumps({"Limit": 10_000}).encode()
    return list(json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what="groups", id=query)).json)["rows"])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    bundles = [{k: float(v) for k, v in b["resources"].items()} for b in row["bundles"]]
    return {
        "placement_group_id": row["id"], "name": row.get("name", ""), "bundles": dict(enumerate(bundles)),
        "bundles_to_node_id": {i: b.get("node", "") for i, b in enumerate(row["bundles"])}, "strategy": row["layout"], "state": row["state"],
        "stats": {},
    }  # fmt: skip


def _row(gid: bytes, group: _Group, shown: Optional[dict[str, Any]]) -> dict[str, Any]:
    """One that this program has made, and that may be gone."""
    bundles = dict(enumerate(group.bundles))
    nowhere = {"placement_group_id": gid.hex(), "bundles_to_node_id": dict.fromkeys(bundles, ""), "stats": {}}
    state = "REMOVED" if group.removed else "CREATED" if wait(gid, 0) else "PENDING"
    return {**nowhere, **(shown or {}), "name": group.name, "bundles": bundles, "strategy": group.strategy, "state": state}
