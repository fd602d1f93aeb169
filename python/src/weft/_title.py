"""What ps and top show of a worker: the name of what it began last."""

from __future__ import annotations

import ctypes

_PR_SET_NAME = 15


class Title:
    """The place where the kernel keeps this process's command line, to be written over."""

    def __init__(self) -> None:
        with open("/proc/self/stat") as f:
            fields = f.read().rpartition(") ")[2].split()
        self._at, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, see proc(5)
        self._room = end - self._at if self._at else 0
        self._prctl = ctypes.CDLL(None).prctl

    def set(self, name: str) -> None:
        text = f"weft::{name}".encode()
        self._prctl(_PR_SET_NAME, text[:15], 0, 0, 0)
        if self._room > 1:
            ctypes.memmove(self._at, text[: self._room - 1].ljust(self._room, b"\0"), self._room)
