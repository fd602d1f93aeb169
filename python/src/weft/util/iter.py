"""Lazy iterators over shards that are held by actors. Deprecated, as in Ray: weft.data does more, better.

    it = from_range(8, num_shards=2).for_each(lambda x: x * 2).filter(lambda x: x > 4)
    list(it.gather_sync())

A ParallelIterator says what is to be done with each shard; nothing happens until it is gathered. Then each shard's
actor builds its iterator anew and hands over items one by one (or, with ``batch_ms``, as many as it makes in that
time).
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Callable, Generic, Optional, TypeVar

import weft

T = TypeVar("T")
Transform = Callable[[Iterable[Any]], Iterable[Any]]


class ParallelIteratorWorker:
    """The base of an actor that holds a shard; from_actors() takes actors of subclasses.

    ``item_generator`` is a list, another iterable or a function that makes one; with ``repeat`` it starts over for
    ever.
    """

    def __init__(self, item_generator: Any, repeat: bool) -> None:
        self._source = item_generator
        self._repeat = repeat
        self._iterators: dict[int, Iterator[Any]] = {}

    def _items(self) -> Iterator[Any]:
        while True:
            yield from (self._source() if callable(self._source) else self._source)
            if not self._repeat:
                return

    def par_iter_init(self, handle: int, transforms: list[Transform], start: int = 0, step: int = 1) -> None:
        """Makes an iterator over each ``step``-th item of the shard, to be known as ``handle``."""
        items: Iterable[Any] = self._items()
        for t in transforms:
            items = t(items)
        self._iterators[handle] = islice(iter(items), start, None, step)

    def par_iter_next_batch(self, handle: int, batch_ms: int) -> tuple[list[Any], bool]:
        """The items of the next ``batch_ms`` milliseconds, at least one; and whether that was all."""
        items = self._iterators.get(handle, iter(()))  # gone once it ended; requests may still come
        until = time.monotonic() + batch_ms / 1000
        batch = list(islice(items, 1))
        while batch and time.monotonic() < until:
            more = list(islice(items, 1))
            if not more:
                break
            batch += more
        if not batch:
            self._iterators.pop(handle, None)
        return batch, not batch


class _Shard:
    """An actor, and what to do with its items."""

    def __init__(self, actor: Any, transforms: tuple[Transform, ...] = (), start: int = 0, step: int = 1) -> None:
        self.actor = actor
        self.transforms = transforms
        self.start = start
        self.step = step

    def then(self, t: Transform) -> _Shard:
        return _Shard(self.actor, (*self.transforms, t), self.start, self.step)

    def open(self) -> int:
        """Makes an iterator in the actor and returns its handle."""
        handle = random.getrandbits(62)
        weft.get(self.actor.par_iter_init.remote(handle, list(self.transforms), self.start, self.step))
        return handle

    def items(self, batch_ms: int = 0) -> Iterator[Any]:
        handle = self.open()
        while True:
            batch, ended = weft.get(self.actor.par_iter_next_batch.remote(handle, batch_ms))
            yield from batch
            if ended:
                return


class LocalIterator(Generic[T]):
    """An iterator in this process; it can be started again. All but take and show are lazy."""

    def __init__(self, base_iterator: Callable[[], Iterable[T]], name: str = "LocalIterator") -> None:
        self._base = base_iterator
        self._name = name
        self._started: Optional[Iterator[T]] = None

    def __iter__(self) -> Iterator[T]:
        return iter(self._base())

    def __next__(self) -> T:
        if self._started is None:
            self._started = iter(self)
        return next(self._started)

    def __repr__(self) -> str:
        return f"LocalIterator[{self._name}]"

    def transform(self, fn: Transform) -> LocalIterator[Any]:
        """``fn(items)`` makes the new items."""
        return LocalIterator(lambda: fn(self), f"{self._name}.transform()")

    def for_each(self, fn: Callable[[T], Any], max_concurrency: int = 1, resources: Any = None) -> LocalIterator[Any]:
        """``fn(item)`` for each; above a ``max_concurrency`` of 1 by so many tasks, whose options are ``resources``."""
        if max_concurrency == 1:
            return LocalIterator(lambda: map(fn, self), f"{self._name}.for_each()")
        task = weft.remote(fn).options(**(resources or {}))
        return LocalIterator(lambda: _by_tasks(task, self, max_concurrency), f"{self._name}.for_each()")

    def filter(self, fn: Callable[[T], bool]) -> LocalIterator[T]:
        """The items for which fn is true."""
        return LocalIterator(lambda: filter(fn, self), f"{self._name}.filter()")

    def batch(self, n: int) -> LocalIterator[list[T]]:
        """Lists of n items; the last may have fewer."""
        return LocalIterator(lambda: _batches(self, n), f"{self._name}.batch({n})")

    def flatten(self) -> LocalIterator[Any]:
        """The items of the items."""
        return LocalIterator(lambda: _flat(self), f"{self._name}.flatten()")

    def combine(self, fn: Callable[[T], list[Any]]) -> LocalIterator[Any]:
        """for_each and flatten."""
        return self.for_each(fn).flatten()

    def shuffle(self, shuffle_buffer_size: int, seed: Optional[int] = None) -> LocalIterator[T]:
        """Each item drawn at random from a buffer of that many."""
        return LocalIterator(lambda: _shuffled(self, shuffle_buffer_size, seed), f"{self._name}.shuffle()")

    def union(self, *others: LocalIterator[T], deterministic: bool = False) -> LocalIterator[T]:
        """The items of all in turn, until each is at its end."""
        return LocalIterator(lambda: _in_turn([iter(i) for i in (self, *others)]), f"{self._name}.union()")

    def duplicate(self, n: int) -> list[LocalIterator[T]]:
        """n iterators over the same items."""
        if n < 2:
            raise ValueError("Number of copies must be >= 2")
        return [LocalIterator(self._base, self._name) for _ in range(n)]

    def take(self, n: int) -> list[T]:
        """The first n items."""
        return list(islice(self, n))

    def show(self, n: int = 20) -> None:
        """Prints the first n items."""
        for item in self.take(n):
            print(item)


class ParallelIterator(Generic[T]):
    """An iterator over shards in actors, made by the functions of this module; methods change each shard."""

    def __init__(self, shards: list[_Shard], name: str) -> None:
        self._shards = shards
        self._name = name

    def __iter__(self) -> Iterator[T]:
        raise TypeError("You must use it.gather_sync() or it.gather_async() to iterate over a ParallelIterator.")

    def __repr__(self) -> str:
        return f"ParallelIterator[{self._name}]"

    def transform(self, fn: Transform) -> ParallelIterator[Any]:
        """``fn(items)`` makes the new items of each shard."""
        return ParallelIterator([s.then(fn) for s in self._shards], f"{self._name}.transform()")

    def for_each(self, fn: Callable[[T], Any], max_concurrency: int = 1, resources: Any = None) -> ParallelIterator[Any]:
        """``fn(item)`` for each; ``max_concurrency`` and ``resources`` as in LocalIterator.for_each."""
        if max_concurrency == 1:
            return self.transform(lambda items: map(fn, items))
        options = resources or {}
        return self.transform(lambda items: _by_tasks(weft.remote(fn).options(**options), items, max_concurrency))

    def filter(self, fn: Callable[[T], bool]) -> ParallelIterator[T]:
        """The items for which fn is true."""
        return self.transform(lambda items: filter(fn, items))

    def batch(self, n: int) -> ParallelIterator[list[T]]:
        """Lists of n items of a shard."""
        return self.transform(lambda items: _batches(items, n))

    def flatten(self) -> ParallelIterator[Any]:
        """The items of the items."""
        return self.transform(_flat)

    def combine(self, fn: Callable[[T], list[Any]]) -> ParallelIterator[Any]:
        """for_each and flatten."""
        return self.for_each(fn).flatten()

    def local_shuffle(self, shuffle_buffer_size: int, seed: Optional[int] = None) -> ParallelIterator[T]:
        """Shuffles within each shard, by a buffer of that many items."""
        return self.transform(lambda items: _shuffled(items, shuffle_buffer_size, seed))

    def repartition(self, num_partitions: int, batch_ms: int = 0) -> ParallelIterator[T]:
        """The same items in another number of shards: each gets every num_partitions-th item of each shard before."""
        old = self._shards
        actor = weft.remote(ParallelIteratorWorker)

        def part(i: int) -> Callable[[], Iterable[Any]]:
            def items() -> Iterable[Any]:
                sliced = [_Shard(s.actor, s.transforms, s.start + i, num_partitions) for s in old]
                return _in_turn([s.items(batch_ms) for s in sliced])

            return items

        shards = [_Shard(actor.remote(part(i), False)) for i in range(num_partitions)]
        return ParallelIterator(shards, f"{self._name}.repartition[num_partitions={num_partitions}]")

    def gather_sync(self) -> LocalIterator[T]:
        """One item of each shard in turn."""
        return LocalIterator(lambda: _in_turn([s.items() for s in self._shards]), f"{self._name}.gather_sync()")

    def gather_async(self, batch_ms: int = 0, num_async: int = 1) -> LocalIterator[T]:
        """Items as the shards have them; ``num_async`` requests to each are on their way."""
        return LocalIterator(lambda: _as_ready(self._shards, batch_ms, num_async), f"{self._name}.gather_async()")

    def batch_across_shards(self) -> LocalIterator[list[T]]:
        """Lists of one item of each shard; shards at their end are left out."""
        return LocalIterator(lambda: _rows([s.items() for s in self._shards]), f"{self._name}.batch_across_shards()")

    def take(self, n: int) -> list[T]:
        """The first n items of gather_sync."""
        return self.gather_sync().take(n)

    def show(self, n: int = 20) -> None:
        """Prints the first n items of gather_sync."""
        self.gather_sync().show(n)

    def union(self, other: ParallelIterator[T]) -> ParallelIterator[T]:
        """The shards of both."""
        if not isinstance(other, ParallelIterator):
            raise TypeError(f"other must be of type ParallelIterator, got {type(other)}")
        return ParallelIterator([*self._shards, *other._shards], f"ParallelUnion[{self}, {other}]")

    def select_shards(self, shards_to_keep: list[int]) -> ParallelIterator[T]:
        """The shards at these places."""
        return ParallelIterator([self._shards[i] for i in shards_to_keep], f"{self._name}.select_shards()")

    def num_shards(self) -> int:
        """How many shards there are."""
        return len(self._shards)

    def shards(self) -> list[LocalIterator[T]]:
        """One iterator for each shard."""
        return [self.get_shard(i) for i in range(self.num_shards())]

    def get_shard(self, shard_index: int, batch_ms: int = 0, num_async: int = 1) -> LocalIterator[T]:
        """An iterator over one shard, to be used anywhere. Raises ValueError if there is no such shard."""
        if not 0 <= shard_index < self.num_shards():
            raise ValueError(f"Shard index {shard_index} is out of bounds: there are {self.num_shards()} shards.")
        shard = self._shards[shard_index]
        return LocalIterator(lambda: shard.items(batch_ms), f"{self._name}.shard[{shard_index}]")


def from_items(items: list[T], num_shards: int = 2, repeat: bool = False) -> ParallelIterator[T]:
    """Shards of a list, dealt out like cards."""
    parts = [items[i::num_shards] for i in range(num_shards)]
    return from_iterators(parts, repeat, f"from_items[{type(items[0]).__name__ if items else 'None'}, {len(items)}]")


def from_range(n: int, num_shards: int = 2, repeat: bool = False) -> ParallelIterator[int]:
    """The numbers below n, in shards of consecutive ones."""
    bounds = [n * i // num_shards for i in range(num_shards + 1)]
    return from_iterators([range(a, b) for a, b in zip(bounds, bounds[1:])], repeat, f"from_range[{n}, {num_shards}]")


def from_iterators(generators: list[Any], repeat: bool = False, name: Optional[str] = None) -> ParallelIterator[Any]:
    """One shard for each iterable, or function that makes one."""
    actor = weft.remote(ParallelIteratorWorker)
    return from_actors([actor.remote(g, repeat) for g in generators], name or f"from_iterators[{len(generators)}]")


def from_actors(actors: list[Any], name: Optional[str] = None) -> ParallelIterator[Any]:
    """One shard for each actor, whose class is a ParallelIteratorWorker."""
    return ParallelIterator([_Shard(a) for a in actors], name or f"from_actors[{len(actors)}]")


def _batches(items: Iterable[T], n: int) -> Iterator[list[T]]:
    it = iter(items)
    while True:
        batch = list(islice(it, n))
        if not batch:
            return
        yield batch


def _flat(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        yield from item


def _shuffled(items: Iterable[T], size: int, seed: Optional[int]) -> Iterator[T]:
    rng = random.Random(seed)
    buffer: list[T] = []
    for item in items:
        buffer.append(item)
        if len(buffer) >= size:
            yield buffer.pop(rng.randrange(len(buffer)))
    rng.shuffle(buffer)
    yield from buffer


def _by_tasks(task: Any, items: Iterable[Any], concurrency: int) -> Iterator[Any]:
    flying: deque[Any] = deque()
    for item in items:
        if len(flying) >= concurrency:
            yield weft.get(flying.popleft())
        flying.append(task.remote(item))
    while flying:
        yield weft.get(flying.popleft())


def _in_turn(iterators: list[Iterator[T]]) -> Iterator[T]:
    for row in _rows(iterators):
        yield from row


def _rows(iterators: list[Iterator[T]]) -> Iterator[list[T]]:
    rest = list(iterators)
    while rest:
        row, left = [], []
        for it in rest:
            item = list(islice(it, 1))
            row += item
            left += [it] if item else []
        rest = left
        if row:
            yield row


def _as_ready(shards: list[_Shard], batch_ms: int, num_async: int) -> Iterator[Any]:
    flying: dict[Any, tuple[_Shard, int]] = {}
    for s in shards:
        handle = s.open()
        for _ in range(max(1, num_async)):
            flying[s.actor.par_iter_next_batch.remote(handle, batch_ms)] = (s, handle)
    ended: set[int] = set()
    while flying:
        (ref,), _ = weft.wait(list(flying), num_returns=1)
        shard, handle = flying.pop(ref)
        if handle in ended:
            continue
        batch, end = weft.get(ref)
        if end:
            ended.add(handle)
        else:
            flying[shard.actor.par_iter_next_batch.remote(handle, batch_ms)] = (shard, handle)
        yield from batch
