"""Starting a node for a program that has none: the binary as a child, which ends with this process however it ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Optional

import _weft
from weft import exceptions as ex


class Node:
    """A node that lives as long as this process."""

    def __init__(self, flags: list[str]) -> None:
        self.dir = tempfile.mkdtemp(prefix="weft-")
        self._life, theirs = socket.socketpair()
        ready, said = socket.socketpair()
        arguments = [_binary(), "start", "--dir", self.dir, f"--life-fd={theirs.fileno()}", f"--ready-fd={said.fileno()}", *flags]
        with theirs, said:
            self.process = subprocess.Popen(
                arguments, pass_fds=(theirs.fileno(), said.fileno()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, start_new_session=True, env={**os.environ, "PYTHONPATH": _path()},
            )  # fmt: skip
        with ready:
            report = _read(ready)
        if report is None or "error" in {k.lower() for k in report if report[k]}:
            assert self.process.stderr is not None
            why = (report or {}).get("error") or self.process.stderr.read().decode(errors="replace").strip()
            self.close()
            raise ex.RaySystemError(f"the node could not be started: {why}")
        self.report: dict[str, Any] = report["ready"]
        self.address: str = self.report["address"]
        assert self.process.stderr is not None
        self.process.stderr.close()

    def leave_to_parent(self) -> None:
        """Lets go of the node in a process that was forked, which may live longer."""
        self._life.close()

    def close(self) -> None:
        self._life.close()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def _binary() -> str:
    try:
        return _weft.find()
    except FileNotFoundError as error:
        raise ex.RaySystemError(str(error)) from None


def _path() -> str:
    """PYTHONPATH by which workers find this package."""
    here = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH")) if p)


def _read(sock: socket.socket) -> Optional[dict[str, Any]]:
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
        if data.endswith(b"\n"):
            break
    try:
        report: dict[str, Any] = {k.lower(): v for k, v in json.loads(data).items()}
        return report
    except ValueError:
        return None
