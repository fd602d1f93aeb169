"""Loops over refs that are done: as_completed and map_unordered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

import weft

DEFAULT_CHUNK_SIZE = 10
DEFAULT_BACKPRESSURE_SIZE = 100


def as_completed(refs: Sequence[Any], *, chunk_size: int = DEFAULT_CHUNK_SIZE, yield_obj_refs: bool = False, **kwargs: Any) -> Iterator[Any]:
    """Yields the values of ``refs`` (with ``yield_obj_refs`` the refs) as they are done.

    Up to ``chunk_size`` refs are fetched at a time: more is faster, less is sooner. ``kwargs`` go to ``weft.wait``.
    Raises ValueError for a chunk size below 1 or for ``num_returns``, and what a task raised when its value is due.
    """
    _check(chunk_size, kwargs)
    rest = list(refs)
    while rest:
        done, rest = _next_chunk(rest, chunk_size, yield_obj_refs, kwargs)
        yield from done


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: Optional[int] = DEFAULT_BACKPRESSURE_SIZE,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Calls ``fn.remote(item)`` for each item and yields the values (or refs) as they are done.

    ``fn`` is a remote function or an actor's method. At most ``backpressure_size`` calls are in flight (None: no
    bound). The other arguments and errors are those of as_completed; ValueError also for a back-pressure size below
    1.
    """
    _check(chunk_size, kwargs)
    if backpressure_size is not None and backpressure_size <= 0:
        raise ValueError("backpressure_size must be positive.")
    bound = float("inf") if backpressure_size is None else backpressure_size
    flying: list[Any] = []
    for item in items:
        while len(flying) >= bound:
            done, flying = _next_chunk(flying, chunk_size, yield_obj_refs, kwargs)
            yield from done
        flying.append(fn.remote(item))
    while flying:
        done, flying = _next_chunk(flying, chunk_size, yield_obj_refs, kwargs)
        yield from done


def _check(chunk_size: int, kwargs: dict[str, Any]) -> None:
    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if "num_returns" in kwargs:
        raise ValueError("Use the `chunk_size` argument instead of `num_returns`.")


def _next_chunk(refs: list[Any], chunk_size: int, yield_obj_refs: bool, kwargs: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    ready, rest = weft.wait(refs, num_returns=min(chunk_size, len(refs)), **kwargs)
    return (ready if yield_obj_refs else weft.get(ready)), rest
