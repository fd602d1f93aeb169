"""Which node a program means."""

from __future__ import annotations

import os
import socket
from typing import Optional

_SOCKET = "weft.sock"


def find(address: Optional[str], own: bool) -> Optional[str]:
    """The socket (or URL) of the node that ``address`` means; None if the program is to have one of its own.

    None means what WEFT_ADDRESS or RAY_ADDRESS names, else the node that ``weft start`` has started for this user on this machine, unless
    the program says what its ``own`` one is to have, else none. "auto" insists on such a node; "local" on none. HOST:PORT, with which
    nodes join a cluster, means the same node: programs use that of their machine. ConnectionError if there is none that is insisted on.
    """
    named = address in (None, "", "auto")
    if named:
        address = os.environ.get("WEFT_ADDRESS") or os.environ.get("RAY_ADDRESS") or address
    if address == "local":
        return None
    if not address or address == "auto":
        if own and not address:
            return None
        started = _default()
        if _answers(started):
            return started
        if not address:
            return None
        raise ConnectionError(f"no node of this user runs on this machine (at {started}); `weft start --detach` starts one")
    if "://" in address and not address.startswith("unix://"):
        return address
    address = address.removeprefix("unix:").removeprefix("//")
    if os.sep not in address and ":" in address:
        started = _default()
        if not _answers(started):
            raise ConnectionError(
                f"{address}: no node of this user runs on this machine that could be of that cluster; `weft start --address {address}` starts "
                f"one, and weft://{address} is for programs outside the cluster"
            )
        return started
    return os.path.join(address, _SOCKET) if os.path.isdir(address) else address


def _default() -> str:
    """Where ``weft start`` puts the socket, as cmd/weft has it."""
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    return os.path.join(run, "weft", _SOCKET) if os.path.isabs(run) else os.path.join("/tmp", f"weft-{os.getuid()}", _SOCKET)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
