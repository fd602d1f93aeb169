"""References to objects, and generators of them."""

from __future__ import annotations

import functools
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Generator, Generic, Optional, TypeVar, Union

from weft import _state, _values
from weft import exceptions as ex
from weft._ids import JobID, TaskID
from weft._pb import session_pb2 as pb
from weft._session import AWAITED, HERE, THERE, UNKNOWN, Entry, Session

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

T = TypeVar("T")


class ObjectRef(Generic[T]):
    """A reference to an object. While one exists the object does; ``await ref`` gives its value."""

    __slots__ = ("__weakref__", "_entry", "_session")

    def __init__(self, entry: Entry, session: Session) -> None:
        entry.count += 1
        self._entry = entry
        self._session = session

    def __del__(self) -> None:
        try:
            self._session.drop(self._entry)
        except Exception:  # at the interpreter's end
            pass

    def _check(self, session: Session) -> None:
        """Raises ValueError if it is of another session, where its id may be another object's."""
        if self._session is not session:
            raise ValueError(
                f"{self!r} is of a session that has ended: it was made before shutdown(), or before init() joined another node. "
                "Its object is gone; make it again in this session."
            )

    def binary(self) -> bytes:
        return self._entry.id

    def hex(self) -> str:
        return self._entry.id.hex()

    def task_id(self) -> TaskID:
        return TaskID(self._entry.id[:16])

    def job_id(self) -> JobID:
        return JobID(bytes(self._session.info.job))

    def owner_address(self) -> bytes:
        """The node that owns the object."""
        return self._entry.id[:8]

    def call_site(self) -> str:
        """Where the object was made: not recorded."""
        return ""

    def tensor_transport(self) -> str:
        """How tensors inside travel."""
        return "OBJECT_STORE"

    def is_nil(self) -> bool:
        return self._entry.id == b"\xff" * self.size()

    @classmethod
    def size(cls) -> int:
        return 20

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and self._entry.id == other._entry.id

    def __hash__(self) -> int:
        return hash(self._entry.id)

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def __reduce__(self) -> Any:
        refs = _values.found.refs
        if refs is None:  # nobody knows where it goes and for how long
            self._session.keep(self._entry)
        else:
            refs.append(self._entry.id)
        return _restore, (self._entry.id,)

    def __copy__(self) -> ObjectRef[T]:
        return self

    def __deepcopy__(self, memo: Any) -> ObjectRef[T]:
        return self

    @classmethod
    def nil(cls) -> ObjectRef[Any]:
        """The reference to nothing."""
        return _loose(b"\xff" * cls.size())

    @classmethod
    def from_random(cls) -> ObjectRef[Any]:
        """A reference to what nobody makes."""
        return _loose(os.urandom(cls.size()))

    def _on_completed(self, call: Callable[[Any], None]) -> None:
        """Has ``call(value or error)`` called, on another thread, when the object is there."""
        self._session.on_ready(self._entry, lambda: call(_outcome(self)), True)

    def future(self) -> concurrent.futures.Future[T]:
        """A concurrent future of the value."""
        from concurrent.futures import Future

        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def finish() -> None:
            try:
                future.set_result(self._session.result(self._entry))
            except BaseException as error:
                future.set_exception(error)

        self._session.on_ready(self._entry, finish, True)
        return future

    def as_future(self) -> asyncio.Future[T]:
        """A future of the value in the running event loop."""
        from asyncio import wrap_future

        return wrap_future(self.future())

    def __await__(self) -> Generator[Any, None, T]:
        if self._entry.state == HERE:
            return self._session.result(self._entry)  # type: ignore[no-any-return]
        return (yield from self.as_future().__await__())


def _outcome(ref: ObjectRef[Any]) -> Any:
    try:
        return ref._session.result(ref._entry)
    except BaseException as error:
        return error


def _loose(oid: bytes) -> ObjectRef[Any]:
    """A reference that is of no session."""
    ref: ObjectRef[Any] = ObjectRef.__new__(ObjectRef)
    ref._entry, ref._session = Entry(oid, UNKNOWN, 0), None  # type: ignore[assignment]
    return ref


def _restore(oid: bytes) -> ObjectRef[Any]:
    session = _state.current()
    entry = session.adopt(oid)
    ref: ObjectRef[Any] = ObjectRef(entry, session)
    entry.count -= 1  # adopt has counted it
    return ref


class ObjectRefGenerator:
    """The results of a streaming task, as references in the order in which they are made."""

    WINDOW = 64  # items by which a producer may be ahead, unless its options say less
    ROOM = 32 << 20  # bytes that may be read before the node is told: half of its window

    def __init__(self, session: Session, tid: bytes, window: int = 0) -> None:
        self._ahead = min(window or self.WINDOW, self.WINDOW)  # items asked for in advance
        self._read = 0  # bytes read since the node was told
        self._session = session
        self._task = tid
        self._items: deque[Entry] = deque()
        self._asked = 0
        self._ended = False
        self._error: Optional[BaseException] = None
        self._told = False
        self._completion: Optional[ObjectRef[Any]] = None
        self._wakers: list[Callable[[], None]] = []
        session.streams[tid] = self
        self._ask()

    # What the session calls, on the thread that leads.

    def add(self, entry: Entry) -> None:
        self._asked -= 1
        self._items.append(entry)
        if self._completion is not None:
            self._read += len(entry.data)
            self._ask()
        self._wake()

    def end(self, error: Optional[BaseException]) -> None:
        with self._session._lock:
            self._ended, self._error = True, error
            self._complete()
        self._wake()

    def _wake(self) -> None:
        wakers, self._wakers = self._wakers, []
        for wake in wakers:
            with self._session._lock:
                self._session._callbacks -= 1
            wake()

    def _ask(self) -> None:
        """Asks for more at half of either window, so that the producer always has some of it."""
        low = self._asked + (0 if self._completion is not None else len(self._items))
        if not self._ended and (low <= self._ahead // 2 or self._read > self.ROOM):
            n = self._ahead - low
            self._asked += n
            self._read = 0
            self._session.send(pb.KIND_CONSUME, pb.Consume(task=self._task, n=n))

    def _take(self) -> ObjectRef[Any]:
        """The next reference; only when there is something to take."""
        if self._items:
            entry = self._items.popleft()
            ref: ObjectRef[Any] = ObjectRef(entry, self._session)
            if self._completion is None:
                self._read += len(entry.data)
                self._ask()
            return ref
        if self._error is not None and not self._told:
            # As a reference whose get raises, like every other failure of a task.
            self._told = True
            entry = Entry(self._task + b"\xff\xff\xff\xff", HERE, 0)
            self._session.fail(entry, self._error)
            return ObjectRef(entry, self._session)
        raise StopIteration

    def __iter__(self) -> ObjectRefGenerator:
        return self

    def __next__(self) -> ObjectRef[Any]:
        return self._next_sync(None)

    def _next_sync(self, timeout_s: Optional[float] = None) -> ObjectRef[Any]:
        if not self._items and not self._ended:
            with self._session.blocked():
                if not self._session.wait_until(lambda: bool(self._items) or self._ended, timeout_s):
                    raise ex.GetTimeoutError("no further result came in time")
        return self._take()

    def __aiter__(self) -> ObjectRefGenerator:
        return self

    async def __anext__(self) -> ObjectRef[Any]:
        from asyncio import get_running_loop

        while not self._items and not self._ended:
            loop = get_running_loop()
            ready = loop.create_future()
            with self._session._lock:
                self._wakers.append(functools.partial(_resolve, loop, ready))
                self._session._callbacks += 1
            self._session.poke()
            await ready
        try:
            return self._take()
        except StopIteration:
            raise StopAsyncIteration from None

    def completed(self) -> ObjectRef[Any]:
        """A reference to None, which is there when the task has ended, or to its error. It is of this process alone.

        From now on the task does not wait for its consumer.
        """
        if self._completion is None:
            with self._session._lock:
                entry = Entry(self._task + b"\xff\xff\xff\xfe", AWAITED, 0)
                entry.asked = True
                self._completion = LocalRef(entry, self._session)
                if self._ended:
                    self._complete()
            self._ask()
        return self._completion

    def _complete(self) -> None:
        ref = self._completion
        if ref is not None:
            self._session.fail(ref._entry, self._error)
            ref._entry.state = HERE
            self._session._call_back(ref._entry, True)

    def send(self, value: Any) -> Any:
        raise NotImplementedError("a task that generates takes nothing from its consumer")

    throw = close = asend = athrow = aclose = send

    def next_ready(self) -> bool:
        """Whether the next reference, or the end, is there."""
        self._session.wait_until(lambda: bool(self._items) or self._ended, 0)
        return bool(self._items) or self._ended

    def is_finished(self) -> bool:
        return self._ended and not self._items

    def task_id(self) -> TaskID:
        return TaskID(self._task)

    def __del__(self) -> None:
        try:
            session = self._session
            while self._items:
                entry = self._items.popleft()
                entry.count += 1
                session.drop(entry)
            if not self._ended and session.error is None:
                session.streams.pop(self._task, None)
                session.send(pb.KIND_DROP_STREAM, pb.TaskRef(task=self._task))
        except Exception:  # at the interpreter's end
            pass


class LocalRef(ObjectRef[T]):
    """A reference that only this process can use."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        raise TypeError("what completed() returns cannot be given to a task or put into a value")


def _resolve(loop: asyncio.AbstractEventLoop, ready: asyncio.Future[None]) -> None:
    """Completes a future of another thread's loop, unless its waiter has gone."""

    def resolve() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.call_soon_threadsafe(resolve)


def is_there(ref: Union[ObjectRef[Any], ObjectRefGenerator]) -> bool:
    """Whether an object is there; of a generator, the next one or the end."""
    if isinstance(ref, ObjectRefGenerator):
        return bool(ref._items) or ref._ended
    return ref._entry.state >= THERE
