"""Shared memory that the node has announced, mapped into this process.

What the node calls a slab is a file; a value lies in it at an offset. A reader gets a view that is read-only and that
keeps the value pinned: when nothing can reach the view any more, its end is reported. A writer gets the memory of a
reservation.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from typing import Any, Callable, Optional

from weft import exceptions as ex

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def _map(fd: int, size: int, prot: int) -> int:
    address: Optional[int] = _libc.mmap(None, size, prot, mmap.MAP_SHARED, fd, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, f"mapping {size} bytes of shared memory: {os.strerror(code)}")
    return address


class Slabs:
    """The mapped files of a session. Mappings stay until the process ends: views may outlive the session."""

    def __init__(self) -> None:
        self._come = threading.Condition()
        self._addresses: dict[tuple[int, bool], int] = {}
        self._closed = False

    def announce(self, slab: int, size: int, writable: bool, fd: int) -> None:
        """Maps a file, and closes its descriptor."""
        try:
            address = _map(fd, size, mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ)
        finally:
            os.close(fd)
        with self._come:
            self._addresses[slab, writable] = address
            self._come.notify_all()

    def close(self) -> None:
        with self._come:
            self._closed = True
            self._come.notify_all()

    def _address(self, slab: int, write: bool) -> int:
        def found() -> Optional[int]:
            address = self._addresses.get((slab, write))
            return self._addresses.get((slab, not write)) if address is None and not write else address

        address = found()
        if address is None:
            # The announcement comes on the other lane, so it may be late.
            with self._come:
                self._come.wait_for(lambda: self._closed or found() is not None)
            address = found()
        if address is None:
            raise ex.RaySystemError("the session ended before its shared memory was there")
        return address

    def room(self, at: Any) -> memoryview:
        """The memory of a reservation, to be written."""
        array = (ctypes.c_ubyte * at.size).from_address(self._address(at.slab, True) + at.offset)
        return memoryview(array).cast("B")

    def view(self, at: Any, size: int, gone: Callable[[], None]) -> memoryview:
        """A value of ``size`` bytes, read-only; calls ``gone`` when nothing can reach it any more."""
        array = (ctypes.c_ubyte * size).from_address(self._address(at.slab, False) + at.offset)
        weakref.finalize(array, gone).atexit = False
        return memoryview(array).cast("B").toreadonly()
