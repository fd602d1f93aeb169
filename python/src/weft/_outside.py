"""Leading a program to a cluster that its machine is no node of: the binary as a child, which is to the program what a node is."""

from __future__ import annotations

import os
import socket
import subprocess

from weft._node import _binary


class Proxy:
    """A process that ends with the session whose lanes it has, and so with this process."""

    def __init__(self, address: str) -> None:
        scheme, _, rest = address.partition("://")
        self.address = f"{scheme}://{rest.rpartition('@')[2]}"  # without the token
        self.call, call = socket.socketpair()
        self.side, side = socket.socketpair()
        with call, side:
            self.process = subprocess.Popen(
                [_binary(), "proxy", f"--call-fd={call.fileno()}", f"--side-fd={side.fileno()}"], pass_fds=(call.fileno(), side.fileno()),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "WEFT_ADDRESS": address},
            )  # fmt: skip

    def leave_to_parent(self) -> None:
        """Lets go of it in a process that was forked, which may live longer."""
        self.call.close()
        self.side.close()

    def close(self) -> None:
        self.leave_to_parent()
        self.process.wait()
