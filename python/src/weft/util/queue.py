"""Queue: a first-in-first-out queue that tasks and actors share, kept in an actor of its own."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any, Optional

import weft


class Empty(queue.Empty):
    """Nothing was in the queue (in time)."""


class Full(queue.Full):
    """The queue had no room (in time)."""


class Queue:
    """A queue with the methods of ``queue.Queue`` and, with ``_async``, of ``asyncio.Queue``.

    ``maxsize`` is in items; 0 or less is unbounded. ``actor_options`` are options of the actor that holds the items.
    A queue can be passed to tasks and actors; all copies are the same queue. Timeouts are in seconds, None waits for
    ever; a negative one is a ValueError. Calls raise RayActorError once the actor is gone.
    """

    def __init__(self, maxsize: int = 0, actor_options: Optional[dict[str, Any]] = None) -> None:
        self.maxsize = maxsize
        self.actor: Any = weft.remote(_QueueActor).options(**(actor_options or {})).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items there are."""
        return int(weft.get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        """How many items there are."""
        return self.size()

    def empty(self) -> bool:
        """Whether there is no item."""
        return bool(weft.get(self.actor.empty.remote()))

    def full(self) -> bool:
        """Whether there is no room."""
        return bool(weft.get(self.actor.full.remote()))

    def put(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        """Adds an item. Raises Full if there is no room: at once if not ``block``, else after ``timeout``."""
        if block:
            weft.get(self.actor.put.remote(item, _check_timeout(timeout)))
            return
        try:
            weft.get(self.actor.put_nowait.remote(item))
        except queue.Full:
            raise Full from None

    async def put_async(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        """As put, to be awaited."""
        if block:
            await self.actor.put.remote(item, _check_timeout(timeout))
            return
        try:
            await self.actor.put_nowait.remote(item)
        except queue.Full:
            raise Full from None

    def get(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        """Takes the oldest item. Raises Empty if there is none: at once if not ``block``, else after ``timeout``."""
        if block:
            return weft.get(self.actor.get.remote(_check_timeout(timeout)))
        try:
            return weft.get(self.actor.get_nowait.remote())
        except queue.Empty:
            raise Empty from None

    async def get_async(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        """As get, to be awaited."""
        if block:
            return await self.actor.get.remote(_check_timeout(timeout))
        try:
            return await self.actor.get_nowait.remote()
        except queue.Empty:
            raise Empty from None

    def put_nowait(self, item: Any) -> None:
        """Adds an item, or raises Full."""
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Adds all items, or raises Full and adds none."""
        if not isinstance(items, Iterable):
            raise TypeError("Argument 'items' must be an Iterable")
        weft.get(self.actor.put_nowait_batch.remote(list(items)))

    def get_nowait(self) -> Any:
        """Takes the oldest item, or raises Empty."""
        return self.get(block=False)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Takes ``num_items`` items, or raises Empty and takes none."""
        if not isinstance(num_items, int):
            raise TypeError("Argument 'num_items' must be an int")
        if num_items < 0:
            raise ValueError("'num_items' must be nonnegative")
        return list(weft.get(self.actor.get_nowait_batch.remote(num_items)))

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """Ends the actor, and with it every call that still waits.

        The calls that are queued get ``grace_period_s`` seconds; with ``force``, or after that, the actor is killed.
        """
        actor, self.actor = self.actor, None
        if actor is None:
            return
        if not force:
            done = actor.__ray_terminate__.remote()
            if weft.wait([done], timeout=grace_period_s)[0]:
                return
        weft.kill(actor, no_restart=True)


def _check_timeout(timeout: Optional[float]) -> Optional[float]:
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return timeout


class _QueueActor:
    """Holds the items. Its methods are coroutines, so that one that waits keeps no other from running."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self.queue.qsize()

    async def empty(self) -> bool:
        return self.queue.empty()

    async def full(self) -> bool:
        return self.queue.full()

    async def put(self, item: Any, timeout: Optional[float] = None) -> None:
        if timeout == 0:  # wait_for would not even look
            return await self.put_nowait(item)
        try:
            await asyncio.wait_for(self.queue.put(item), timeout)
        except asyncio.TimeoutError:
            raise Full from None

    async def get(self, timeout: Optional[float] = None) -> Any:
        if timeout == 0:
            return await self.get_nowait()
        try:
            return await asyncio.wait_for(self.queue.get(), timeout)
        except asyncio.TimeoutError:
            raise Empty from None

    async def put_nowait(self, item: Any) -> None:
        try:
            self.queue.put_nowait(item)
        except asyncio.QueueFull:
            raise Full from None

    async def put_nowait_batch(self, items: list[Any]) -> None:
        size = self.queue.qsize()
        if self.maxsize > 0 and size + len(items) > self.maxsize:
            raise Full(f"Cannot add {len(items)} items to queue of size {size} and maxsize {self.maxsize}.")
        for item in items:
            self.queue.put_nowait(item)

    async def get_nowait(self) -> Any:
        try:
            return self.queue.get_nowait()
        except asyncio.QueueEmpty:
            raise Empty from None

    async def get_nowait_batch(self, num_items: int) -> list[Any]:
        size = self.queue.qsize()
        if num_items > size:
            raise Empty(f"Cannot get {num_items} items from queue of size {size}.")
        return [self.queue.get_nowait() for _ in range(num_items)]
