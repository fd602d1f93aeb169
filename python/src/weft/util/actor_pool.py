"""ActorPool: work spread over a fixed set of actors, at most one call in flight per actor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Callable, Optional

import weft

Call = Callable[[Any, Any], Any]
"""``fn(actor, value)``: makes one call on the actor and returns its ref."""


class ActorPool:
    """A pool of actors that serve values one by one.

    ``pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3])`` yields 2, 4 and 6. Actors may differ in
    class as long as ``fn`` can call each of them. Not for use from several threads.
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle: list[Any] = list(actors)
        self._index_of: dict[Any, int] = {}  # ref in flight or unread: its place in the order of submission
        self._actor_of: dict[Any, Any] = {}
        self._ref_at: dict[int, Any] = {}
        self._next_submit = 0
        self._next_return = 0
        self._pending: deque[tuple[Call, Any]] = deque()

    def map(self, fn: Call, values: Iterable[Any]) -> Iterator[Any]:
        """Yields the result of each value, in the order of ``values``; results of earlier submits are thrown away."""
        self._forget_earlier()
        for v in values:
            self.submit(fn, v)
        return self._drain(self.get_next)

    def map_unordered(self, fn: Call, values: Iterable[Any]) -> Iterator[Any]:
        """Yields the result of each value as it is done; results of earlier submits are thrown away."""
        self._forget_earlier()
        for v in values:
            self.submit(fn, v)
        return self._drain(self.get_next_unordered)

    def _drain(self, get: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield get()

    def _forget_earlier(self) -> None:
        # What failed or never finished before must not disturb the new values.
        while self.has_next():
            try:
                self.get_next(timeout=0, ignore_if_timedout=True)
            except Exception:
                continue

    def submit(self, fn: Call, value: Any) -> None:
        """Calls ``fn`` with an idle actor, or remembers the value until one is idle."""
        if not self._idle:
            self._pending.append((fn, value))
            return
        actor = self._idle.pop()
        ref = fn(actor, value)
        key = ref[0] if isinstance(ref, list) else ref
        self._index_of[key] = self._next_submit
        self._actor_of[key] = actor
        self._ref_at[self._next_submit] = ref
        self._next_submit += 1

    def has_next(self) -> bool:
        """Whether a result is still to come."""
        return bool(self._index_of)

    def get_next(self, timeout: Optional[float] = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission; not to be mixed with get_next_unordered.

        ``timeout`` is in seconds, None waits for ever. With ``ignore_if_timedout`` a result that is late is given up
        and its actor is idle again. Raises StopIteration when nothing is left, TimeoutError, or what the call raised.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        while self._next_return not in self._ref_at:  # read by get_next_unordered already
            self._next_return += 1
        ref = self._ref_at[self._next_return]
        key = ref[0] if isinstance(ref, list) else ref
        if timeout is not None and not weft.wait([key], timeout=timeout)[0]:
            if not ignore_if_timedout:
                raise TimeoutError("Timed out waiting for result")
            self._take(key)
            raise TimeoutError(f"Timed out waiting for result. The task {ref} has been ignored.")
        return self._take_value(key)

    def get_next_unordered(self, timeout: Optional[float] = None, ignore_if_timedout: bool = False) -> Any:
        """Any result that is done; arguments and errors as those of get_next.

        With ``ignore_if_timedout`` the result that was submitted first is given up.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        ready, _ = weft.wait(list(self._index_of), num_returns=1, timeout=timeout)
        if ready:
            return self._take_value(ready[0])
        if not ignore_if_timedout:
            raise TimeoutError("Timed out waiting for result")
        oldest = min(self._index_of, key=self._index_of.__getitem__)
        self._take(oldest)
        raise TimeoutError(f"Timed out waiting for result. The task {oldest} has been ignored.")

    def _take_value(self, key: Any) -> Any:
        return weft.get(self._take(key))

    def _take(self, key: Any) -> Any:
        ref = self._ref_at.pop(self._index_of.pop(key))
        self._return_actor(self._actor_of.pop(key))
        return ref

    def _return_actor(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._pending:
            self.submit(*self._pending.popleft())

    def has_free(self) -> bool:
        """Whether an actor is idle and nothing waits for one."""
        return bool(self._idle) and not self._pending

    def pop_idle(self) -> Optional[Any]:
        """Takes an idle actor out of the pool; None if there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Adds an actor. Raises ValueError if it is in the pool already."""
        if actor in self._idle or actor in self._actor_of.values():
            raise ValueError("Actor already belongs to current ActorPool")
        self._return_actor(actor)
