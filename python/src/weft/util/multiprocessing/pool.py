"""Pool: the methods of ``multiprocessing.Pool``, with an actor as each process."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from multiprocessing import TimeoutError
from typing import Any, Callable, Optional

import weft

logger = logging.getLogger(__name__)

Callback = Optional[Callable[[Any], None]]
Call = tuple[tuple[Any, ...], dict[str, Any]]


class PoolTaskError(Exception):
    """What a function raised, on its way from a worker; users see ``underlying``."""

    def __init__(self, underlying: BaseException) -> None:
        super().__init__(underlying)
        self.underlying = underlying


class _PoolWorker:
    """A process of the pool."""

    def __init__(self, initializer: Optional[Callable[..., Any]], initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def ping(self) -> None:
        """Returns once the initializer has."""

    def run_batch(self, func: Callable[..., Any], batch: list[Call]) -> list[Any]:
        return [_call(func, args, kwargs) for args, kwargs in batch]


def _call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return func(*args, **kwargs)
    except Exception as e:
        return PoolTaskError(e)


class AsyncResult:
    """The result of a call that may still run. Timeouts are in seconds, None waits for ever."""

    def __init__(self, refs: Sequence[Any], callback: Callback = None, error_callback: Callback = None, single: bool = False) -> None:
        self._refs = list(refs)
        self._single = single
        self._lock = threading.Lock()
        self._outcome: Optional[tuple[bool, Any]] = None
        if callback or error_callback:
            threading.Thread(target=self._call_back, args=(callback, error_callback), name="weft-pool-callback", daemon=True).start()

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits until the result is there or the time is over."""
        if self._refs:
            weft.wait(self._refs, num_returns=len(self._refs), timeout=timeout)

    def get(self, timeout: Optional[float] = None) -> Any:
        """The result. Raises TimeoutError (of multiprocessing), or what the function raised first."""
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        ok, value = self._read()
        if not ok:
            raise value
        return value

    def ready(self) -> bool:
        """Whether the call is over."""
        n = len(self._refs)
        return n == 0 or len(weft.wait(self._refs, num_returns=n, timeout=0)[0]) == n

    def successful(self) -> bool:
        """Whether the call raised nothing. Raises ValueError while it runs."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._read()[0]

    def _read(self) -> tuple[bool, Any]:
        with self._lock:
            if self._outcome is None:
                self._outcome = _outcome(self._refs, self._single)
            return self._outcome

    def _call_back(self, callback: Callback, error_callback: Callback) -> None:
        self.wait()
        ok, value = self._read()
        chosen = callback if ok else error_callback
        if chosen is not None:
            chosen(value)


def _outcome(refs: list[Any], single: bool) -> tuple[bool, Any]:
    try:
        values = [v for batch in weft.get(refs) for v in batch]
    except Exception as e:
        return False, e
    for v in values:
        if isinstance(v, PoolTaskError):
            return False, v.underlying
    return True, values[0] if single else values


class _IMapIterator(Iterator[Any]):
    """Keeps each process busy with a chunk, and submits the next one as one is done."""

    def __init__(self, pool: Pool, func: Any, iterable: Iterable[Any], chunksize: int) -> None:
        self._pool = pool
        self._func = weft.put(func)
        self._items = iter(iterable)
        self._chunksize = chunksize
        self._flying: list[Any] = []  # refs, in the order of submission
        self._actor_of: dict[Any, int] = {}
        self._read: deque[Any] = deque()
        for actor in range(pool._processes):
            self._submit(actor)

    def _submit(self, actor: int) -> None:
        chunk: list[Call] = [((item,), {}) for item in islice(self._items, self._chunksize)]
        if chunk:
            ref = self._pool._run_batch(actor, self._func, chunk)
            self._flying.append(ref)
            self._actor_of[ref] = actor

    def _ready(self, timeout: Optional[float]) -> Any:
        raise NotImplementedError

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result. Raises StopIteration, multiprocessing.TimeoutError, or what the function raised for it."""
        if not self._read:
            if not self._flying:
                raise StopIteration
            ref = self._ready(timeout)
            if ref is None:
                raise TimeoutError
            self._flying.remove(ref)
            batch = weft.get(ref)
            actor = self._actor_of.pop(ref)
            if not self._pool._terminated:
                self._submit(actor)
            self._read.extend(batch)
        value = self._read.popleft()
        if isinstance(value, PoolTaskError):
            raise value.underlying
        return value


class OrderedIMapIterator(_IMapIterator):
    """Results in the order of the items."""

    def _ready(self, timeout: Optional[float]) -> Any:
        ready, _ = weft.wait(self._flying[:1], timeout=timeout)
        return ready[0] if ready else None


class UnorderedIMapIterator(_IMapIterator):
    """Results as they are done."""

    def _ready(self, timeout: Optional[float]) -> Any:
        ready, _ = weft.wait(self._flying, timeout=timeout)
        return ready[0] if ready else None


class Pool:
    """A pool of processes on the cluster, with the interface of ``multiprocessing.Pool``.

    ``processes`` is by default the number of CPUs of the cluster. Each process first calls
    ``initializer(*initargs)``, and is replaced after ``maxtasksperchild`` batches. ``ray_address`` (or RAY_ADDRESS)
    says which cluster to attach to if this program has not done so; ``ray_remote_args`` are options of the actors.
    ``context`` is not used. Raises ValueError for no process or for more than the cluster has CPUs.
    """

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., Any]] = None,
        initargs: Optional[Iterable[Any]] = None,
        maxtasksperchild: Optional[int] = None,
        context: Any = None,
        ray_address: Optional[str] = None,
        ray_remote_args: Optional[dict[str, Any]] = None,
    ) -> None:
        if context is not None:
            logger.warning("The 'context' argument is not used: weft.init() says how processes are started.")
        self._closed = False
        self._terminated = False
        self._initializer = initializer
        self._initargs = tuple(initargs or ())
        self._maxtasksperchild = maxtasksperchild or -1
        self._processes = _attach(processes, ray_address)
        options = {"num_cpus": 1, **(ray_remote_args or {})}
        self._actor_class = weft.remote(_PoolWorker).options(**options)
        self._next = 0
        self._leaving: list[Any] = []  # one ref for each actor that was told to go once its queue is done
        self._actors = [self._new_actor() for _ in range(self._processes)]
        self._runs = [0] * self._processes
        weft.get([a.ping.remote() for a in self._actors])

    def _new_actor(self) -> Any:
        return self._actor_class.remote(self._initializer, self._initargs)

    def _run_batch(self, actor: int, func: Any, batch: list[Call]) -> Any:
        ref = self._actors[actor].run_batch.remote(func, batch)
        self._runs[actor] += 1
        if self._runs[actor] == self._maxtasksperchild:
            self._leaving.append(self._actors[actor].__ray_terminate__.remote())
            self._actors[actor] = self._new_actor()
            self._runs[actor] = 0
        return ref

    def _pick(self) -> int:
        self._next = (self._next + 1) % self._processes
        return self._next

    def apply(self, func: Callable[..., Any], args: Optional[Iterable[Any]] = None, kwargs: Optional[dict[str, Any]] = None) -> Any:
        """``func(*args, **kwargs)`` in some process; waits for the result."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Optional[Iterable[Any]] = None,
        kwargs: Optional[dict[str, Any]] = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult:
        """As apply, at once; a callback gets the result or the error, on a thread of its own."""
        self._check_running()
        ref = self._run_batch(self._pick(), func, [(tuple(args or ()), dict(kwargs or {}))])
        return AsyncResult([ref], callback, error_callback, single=True)

    def map(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = None) -> list[Any]:
        """The results of ``func(item)`` in the order of the items; ``chunksize`` items go to a process at a time."""
        return list(self.map_async(func, iterable, chunksize).get())

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult:
        """As map, at once."""
        calls: list[Call] = [((item,), {}) for item in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def starmap(self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: Optional[int] = None) -> list[Any]:
        """As map, with ``func(*item)``."""
        return list(self.starmap_async(func, iterable, chunksize=chunksize).get())

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        callback: Callback = None,
        error_callback: Callback = None,
        chunksize: Optional[int] = None,
    ) -> AsyncResult:
        """As starmap, at once."""
        calls: list[Call] = [(tuple(item), {}) for item in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def _map(
        self,
        func: Callable[..., Any],
        calls: list[Call],
        chunksize: Optional[int],
        callback: Callback,
        error_callback: Callback,
    ) -> AsyncResult:
        self._check_running()
        if chunksize is None:  # four chunks for each process even out how long items take
            chunksize = max(1, -(-len(calls) // (4 * self._processes)))
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, got {chunksize}")
        shared = weft.put(func)
        refs = [self._run_batch(self._pick(), shared, calls[i : i + chunksize]) for i in range(0, len(calls), chunksize)]
        return AsyncResult(refs, callback, error_callback)

    def imap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = 1) -> OrderedIMapIterator:
        """Yields results in the order of the items, and reads the items only as processes are free."""
        return OrderedIMapIterator(self, func, iterable, self._imap_chunk(chunksize))

    def imap_unordered(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = 1) -> UnorderedIMapIterator:
        """As imap, with results as they are done."""
        return UnorderedIMapIterator(self, func, iterable, self._imap_chunk(chunksize))

    def _imap_chunk(self, chunksize: Optional[int]) -> int:
        self._check_running()
        if chunksize is not None and chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, got {chunksize}")
        return chunksize or 1

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *exc: object) -> None:
        self.terminate()

    def close(self) -> None:
        """Takes no more work; processes end once theirs is done."""
        if not self._closed:
            self._closed = True
            self._leaving += [a.__ray_terminate__.remote() for a in self._actors]

    def terminate(self) -> None:
        """Ends the processes at once; calls that still run fail."""
        if not self._terminated:
            self._closed = self._terminated = True
            for a in self._actors:
                weft.kill(a)

    def join(self) -> None:
        """Waits until the processes have ended. Raises ValueError unless close or terminate came before."""
        if not self._closed:
            raise ValueError("Pool is still running")
        if self._leaving:
            weft.wait(self._leaving, num_returns=len(self._leaving))


def _attach(processes: Optional[int], address: Optional[str]) -> int:
    """Starts or joins a cluster if this program has none, and says how many processes to have."""
    if processes is not None and processes <= 0:
        raise ValueError("Processes in the pool must be >0.")
    if not weft.is_initialized():
        address = address or os.environ.get("RAY_ADDRESS")
        if address:
            weft.init(address=address)
        else:
            weft.init(num_cpus=processes)
    cpus = int(weft.cluster_resources().get("CPU", 0))
    if processes is None:
        return max(1, cpus)
    if processes > cpus:
        raise ValueError(f"Tried to start a pool with {processes} processes on an existing cluster, but there are only {cpus} CPUs in the cluster.")
    return processes
