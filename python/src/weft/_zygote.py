"""A zygote: an interpreter with what a worker needs imported, from which workers are forked. ``python -m weft._zygote``,
started by a node.

A fork takes a millisecond where a new interpreter and its imports take two hundred. The new process is made as the node's own
child (CLONE_PARENT), so that the node sees it out like any worker, whatever becomes of the zygote; and the process says itself
that it is there. The zygote has one thread and runs nothing of the user's but what the interpreter runs as it starts.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import os
import select
import socket
import struct
import sys
from typing import Any, Optional

from weft import _worker
from weft._pb import session_pb2 as pb

_CLONE3, _PR_GET_TID_ADDRESS = 435, 40  # the numbers are the same on every architecture
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
_HEADER = struct.Struct("<IB")
_QUIET = 0.1  # seconds without a request, after which there is time to import more
_DESCRIPTORS = 4  # call lane, side lane, standard output, standard error


class _Clone(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")]


class Forker:
    """Forks as the C library does, but for whose child the new process is: its parent's, like the caller."""

    def __init__(self) -> None:
        if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
            raise OSError("the C library is not glibc")
        # Not CDLL: the lock of the interpreter is kept, as os.fork does.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        tid = ctypes.c_void_p()
        if self._libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(tid), 0, 0, 0) or not tid.value:
            raise OSError("the kernel does not tell where the C library keeps a thread's number")
        flags = _CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
        self._clone = _Clone(flags=flags, child_tid=tid.value)

    def fork(self) -> int:
        """0 in the new process, its number in this one."""
        if len(os.listdir("/proc/self/task")) > 1:
            raise OSError("the interpreter has threads before it has run anything")
        api = ctypes.pythonapi
        api.PyOS_BeforeFork()
        pid: int = self._libc.syscall(_CLONE3, ctypes.byref(self._clone), ctypes.sizeof(self._clone))
        error = ctypes.get_errno()
        if pid == 0:
            api.PyOS_AfterFork_Child()
            return 0
        api.PyOS_AfterFork_Parent()
        if pid < 0:
            raise OSError(error, os.strerror(error))
        return pid


def _send(node: socket.socket, kind: int, m: Any) -> None:
    body = m.SerializeToString()
    node.sendall(_HEADER.pack(len(body) + 1, kind) + body)


def _asked(node: socket.socket) -> list[int]:
    """Waits for a Fork; its descriptors, or none at the end. Forks come one at a time."""
    data, ancillary, _, _ = node.recvmsg(4096, socket.CMSG_SPACE(4 * _DESCRIPTORS), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content)
    return list(fds) if data else []


def _serve(node: socket.socket) -> Optional[list[int]]:
    """Forks until the node is gone. Returns the descriptors in a new process, None in the zygote at its end."""
    forker: Optional[Forker] = None
    ready = False
    while True:
        if not ready and not select.select([node], [], [], _QUIET)[0]:
            _import_more()
            ready = True
        fds = _asked(node)
        if not fds:
            return None
        try:
            forker = forker or Forker()
            if forker.fork() == 0:
                return fds
        except OSError as error:
            _send(node, pb.KIND_FORKED, pb.Forked(error=pb.Error(message=str(error))))
        for fd in fds:
            os.close(fd)


def _import_more() -> None:
    """Imports what asynchronous and threaded actors need: not before the first worker, which somebody waits for."""
    for name in ("asyncio", "concurrent.futures.thread"):
        importlib.import_module(name)
    _freeze()


def _freeze() -> None:
    """What lives now is never looked at again by the collector, so that its pages stay shared."""
    gc.collect()
    gc.freeze()


def _become(node: socket.socket, fds: list[int]) -> int:
    """What a new process does: it leaves what is the zygote's, says that it is there, and is a worker."""
    os.setpgid(0, 0)
    call, side, out, err = fds
    for new, old in ((out, 1), (err, 2)):
        os.dup2(new, old)
        os.close(new)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # random has seeded itself
    gc.enable()
    _send(node, pb.KIND_FORKED, pb.Forked(pid=os.getpid()))
    node.close()
    return _worker.run(socket.socket(fileno=call), socket.socket(fileno=side))


def main() -> int:
    node, side = _worker.lanes()
    side.close()
    gc.disable()
    _freeze()
    _send(node, pb.KIND_HELLO, pb.Hello(version=1, role="zygote", language="python", pid=os.getpid()))
    try:
        fds = _serve(node)
    except (KeyboardInterrupt, ConnectionError):
        fds = None
    return _become(node, fds) if fds else 0


if __name__ == "__main__":
    sys.exit(main())
