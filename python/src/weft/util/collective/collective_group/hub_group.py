"""HubGroup: collectives of CPU tensors over the cluster's own objects, under the backend name GLOO.

A hub, a named actor, is where processes meet: each leaves what it contributes under a key and gets what all have
left. Large tensors are left as refs, so their bytes go from process to process and never through the hub. A reduction
splits a tensor into as many parts as there are processes; each process reduces one part and then all fetch the parts,
so a process receives under twice the size of the tensor, whatever the size of the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import reduce
from typing import Any, Optional

import numpy as np

import weft
from weft.util.collective.collective_group.base_collective_group import BaseGroup, Tensors
from weft.util.collective.types import (
    AllGatherOptions,
    AllReduceOptions,
    BarrierOptions,
    BroadcastOptions,
    RecvOptions,
    ReduceOp,
    ReduceOptions,
    ReduceScatterOptions,
    SendOptions,
)

SMALL_BYTES = 32 << 10
"""Tensors up to this size travel with the call to the hub; for larger ones a ref does."""

DEFAULT_TIMEOUT_MS = 30_000
MAX_CONCURRENCY = 10_000
"""Calls that may wait in a hub; a process of the group has one at a time."""

_started: dict[str, Any] = {}
# An actor ends with the handle it was created through, and whoever started the hub may leave the group before others.

_REDUCE: dict[ReduceOp, Any] = {
    ReduceOp.SUM: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
}


class Hub:
    """Where the processes of a group meet. Its methods are coroutines: one that waits for others holds up none."""

    def __init__(self, world_size: int, ranks: Optional[dict[str, int]], backend: str, timeout_ms: int) -> None:
        self._world_size = world_size
        self._declared = (world_size, ranks or {}, backend, timeout_ms)
        self._members: set[int] = set()
        self._rounds: dict[Any, _Round] = {}
        self._mail: dict[Any, _Box] = {}

    async def declared(self) -> tuple[int, dict[str, int], str, int]:
        """World size, ranks by the hex of actors' ids, backend and timeout of create_collective_group."""
        return self._declared

    async def join(self, rank: int, world_size: int) -> None:
        if world_size != self._world_size:
            raise RuntimeError(f"The group has a world size of {self._world_size}, not {world_size}.")
        if rank in self._members:
            raise RuntimeError(f"Rank {rank} is in the group already; each process must destroy the group before.")
        self._members.add(rank)

    async def leave(self, rank: int) -> int:
        """Returns how many are left."""
        self._members.discard(rank)
        return len(self._members)

    async def exchange(self, key: Any, rank: int, parts: Any) -> list[Any]:
        """Leaves ``parts`` and returns what every rank left under the key, once all have."""
        r = self._rounds.setdefault(key, _Round(self._world_size))
        r.parts[rank] = parts
        r.taken += 1
        if len(r.parts) == self._world_size:
            r.full.set()
        await r.full.wait()
        r.taken -= 1
        if r.taken == 0:
            self._rounds.pop(key, None)
        return [r.parts[i] for i in range(self._world_size)]

    async def post(self, key: Any, parts: Any) -> None:
        """Leaves a message and waits until it was taken, so that no sender has more than one here."""
        box = self._mail.setdefault(key, _Box())
        box.parts.set_result(parts)
        await box.taken.wait()

    async def take(self, key: Any) -> Any:
        box = self._mail.setdefault(key, _Box())
        parts = await box.parts
        del self._mail[key]
        box.taken.set()
        return parts


class _Box:
    def __init__(self) -> None:
        self.parts: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.taken = asyncio.Event()


class _Round:
    def __init__(self, world_size: int) -> None:
        self.parts: dict[int, Any] = {}
        self.full = asyncio.Event()
        self.taken = 0


def hub_name(group_name: str) -> str:
    """The name of the hub of a group."""
    return f"weft-collective-{group_name}"


def start_hub(
    group_name: str,
    world_size: int,
    ranks: Optional[dict[str, int]] = None,
    backend: str = "GLOO",
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> Any:
    """The hub of a group, which is started if it is not there.

    It lives until the last process leaves, or the one that started it ends.
    """
    cls = weft.remote(Hub).options(name=hub_name(group_name), get_if_exists=True, num_cpus=0, max_concurrency=MAX_CONCURRENCY)
    hub = _started[group_name] = cls.remote(world_size, ranks, backend, timeout_ms)
    return hub


class HubGroup(BaseGroup):
    """A process's place in a group. Calls that wait longer than the timeout for others raise GetTimeoutError."""

    def __init__(self, world_size: int, rank: int, group_name: str, timeout_ms: Optional[int] = None) -> None:
        super().__init__(world_size, rank, group_name)
        self._timeout_s = (timeout_ms or DEFAULT_TIMEOUT_MS) / 1000
        self._round = 0
        self._sent: dict[tuple[int, int], int] = {}  # (from, to): messages so far
        self._hub = start_hub(group_name, world_size)
        weft.get(self._hub.join.remote(rank, world_size), timeout=self._timeout_s)

    @classmethod
    def backend(cls) -> str:
        """GLOO, the name that programs give for CPU tensors."""
        return "GLOO"

    @classmethod
    def check_backend_availability(cls) -> bool:
        """True: nothing else is needed."""
        return True

    def destroy_group(self) -> None:
        """Leaves the group; the last one ends the hub."""
        if weft.get(self._hub.leave.remote(self._rank), timeout=self._timeout_s) == 0:
            weft.kill(self._hub)

    def barrier(self, barrier_options: BarrierOptions = BarrierOptions()) -> None:  # noqa: B008
        self._exchange(None)

    def allreduce(self, tensor: Tensors, allreduce_options: AllReduceOptions = AllReduceOptions()) -> None:  # noqa: B008
        self._reduce_to(tensor[0], allreduce_options.reduceOp, None)

    def reduce(self, tensor: Tensors, reduce_options: ReduceOptions = ReduceOptions()) -> None:  # noqa: B008
        self._reduce_to(tensor[0], reduce_options.reduceOp, reduce_options.root_rank)

    def _reduce_to(self, tensor: Any, op: ReduceOp, root: Optional[int]) -> None:
        """Reduces into tensor, on ``root`` or (None) everywhere."""
        view = as_array(tensor)
        mine = np.ascontiguousarray(view).reshape(-1)
        if mine.nbytes <= SMALL_BYTES:
            parts = self._exchange(mine)
            if root in (None, self._rank):
                np.copyto(view, reduce(_REDUCE[op], parts).reshape(view.shape))
            return
        columns = self._exchange([_wrap(c) for c in np.array_split(mine, self._world_size)])
        part = reduce(_REDUCE[op], self._unwrap([row[self._rank] for row in columns]))
        parts = self._exchange(_wrap(part))
        if root in (None, self._rank):
            np.copyto(view, np.concatenate(self._unwrap(parts)).reshape(view.shape))

    def allgather(
        self,
        tensor_list: list[Tensors],
        tensor: Tensors,
        allgather_options: AllGatherOptions = AllGatherOptions(),  # noqa: B008
    ) -> None:
        parts = self._exchange(_wrap(as_array(tensor[0])))
        for target, part in zip(tensor_list[0], self._unwrap(parts)):
            np.copyto(as_array(target), part)

    def broadcast(self, tensor: Tensors, broadcast_options: BroadcastOptions = BroadcastOptions()) -> None:  # noqa: B008
        root = broadcast_options.root_rank
        view = as_array(tensor[0])
        parts = self._exchange(_wrap(view) if root == self._rank else None)
        if root != self._rank:
            np.copyto(view, self._unwrap([parts[root]])[0])

    def reducescatter(
        self,
        tensor: Tensors,
        tensor_list: list[Tensors],
        reducescatter_options: ReduceScatterOptions = ReduceScatterOptions(),  # noqa: B008
    ) -> None:
        rows = self._exchange([_wrap(as_array(t)) for t in tensor_list[0]])
        parts = self._unwrap([row[self._rank] for row in rows])
        np.copyto(as_array(tensor[0]), reduce(_REDUCE[reducescatter_options.reduceOp], parts))

    def send(self, tensor: Tensors, send_options: SendOptions) -> None:
        key = self._next_mail(self._rank, send_options.dst_rank)
        self._ask(self._hub.post.remote(key, _wrap(as_array(tensor[0]))))

    def recv(self, tensor: Tensors, recv_options: RecvOptions) -> None:
        key = self._next_mail(recv_options.src_rank, self._rank)
        np.copyto(as_array(tensor[0]), self._unwrap([self._ask(self._hub.take.remote(key))])[0])

    def _next_mail(self, source: int, target: int) -> tuple[int, int, int]:
        n = self._sent[source, target] = self._sent.get((source, target), 0) + 1
        return source, target, n

    def _exchange(self, parts: Any) -> list[Any]:
        self._round += 1
        return list(self._ask(self._hub.exchange.remote(self._round, self._rank, parts)))

    def _ask(self, ref: Any) -> Any:
        return weft.get(ref, timeout=self._timeout_s)

    def _unwrap(self, parts: Sequence[Any]) -> list[Any]:
        """The arrays of these parts; those that are refs are fetched together."""
        refs = [p[0] for p in parts if isinstance(p, list)]
        fetched = iter(weft.get(refs, timeout=self._timeout_s) if refs else [])
        return [next(fetched) if isinstance(p, list) else p for p in parts]


def _wrap(array: Any) -> Any:
    """A small array itself, else a list of a ref to it (a bare ref as an argument would be fetched by the hub)."""
    array = np.ascontiguousarray(array)
    return array if array.nbytes <= SMALL_BYTES else [weft.put(array)]


def as_array(tensor: Any) -> Any:
    """A numpy array over the memory of a numpy or CPU torch tensor. Raises RuntimeError for anything else."""
    if isinstance(tensor, np.ndarray):
        return tensor
    if type(tensor).__module__.split(".")[0] == "torch" and tensor.device.type == "cpu":
        return tensor.detach().numpy()
    raise RuntimeError(f"Unrecognized tensor type '{type(tensor)}'. Supported types are: np.ndarray and torch.Tensor on the CPU.")
