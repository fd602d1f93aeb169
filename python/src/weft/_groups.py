"""Placement groups, as weft.util.placement_group asks for them."""

from __future__ import annotations

import threading
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

_groups: dict[bytes, _Group] = {}
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
        _groups[gid] = _Group(bundles, layout, name, m.request)
    session.send(pb.KIND_GROUP, m)
    return gid


def wait(gid: bytes, timeout: Optional[float]) -> bool:
    """Whether the group has its resources within ``timeout`` seconds. One that can never have them does not."""
    session = _state.current()
    group = _groups.get(gid)
    if group is None:
        return False
    with session.blocked():
        session.wait_until(lambda: session._answers.get(group.request) is not None, timeout)
    reply = session._answers.get(group.request)
    return reply is not None and not reply.HasField("error")


def ready_ref(gid: bytes) -> Any:
    """A reference to the group, which is there when it has its resources."""
    from weft._remote import RemoteFunction
    from weft.util.placement_group import PlacementGroup
    from weft.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = _groups[gid]
    whole = PlacementGroup(_id(gid), group.bundles)
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
    group = _groups.get(gid)
    if group is not None:
        group.removed = True
        session._answers.pop(group.request, None)
        _forget()
    session.send(pb.KIND_UNGROUP, pb.Group(group=gid))


def _forget() -> None:
    """Drops the oldest groups that were removed, beyond those remembered."""
    with _lock:
        removed = [gid for gid, group in _groups.items() if group.removed]
        for gid in removed[: max(len(removed) - _REMEMBERED, 0)]:
            del _groups[gid]


def lookup(name: str) -> Optional[bytes]:
    """The living group of that name that this program made."""
    for gid, group in _groups.items():
        if group.name == name and not group.removed:
            return gid
    return None


def table(gid: Optional[bytes]) -> dict[str, Any]:
    """A row for the group, or rows of all that this program made, by hex id."""
    if gid is not None:
        return _row(gid)
    return {g.hex(): _row(g) for g in list(_groups)}


def _row(gid: bytes) -> dict[str, Any]:
    group = _groups[gid]
    state = "REMOVED" if group.removed else "CREATED" if wait(gid, 0) else "PENDING"
    return {
        "placement_group_id": gid.hex(), "name": group.name, "bundles": dict(enumerate(group.bundles)), "strategy": group.strategy, "state": state,
    }  # fmt: skip
