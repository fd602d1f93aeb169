"""What this process recorded in metrics of its own, until the session takes it to the node.

``record`` is called by weft.util.metrics. The session calls ``flush`` now and then, which hands over one Sample per
series that changed since. Counters and histograms are given as increments, so that the node can add up what many
workers send, and so that nothing is counted twice; if the hand-over fails the increments are kept for the next one.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable, Union

MAX_SERIES = 10_000
"""Series (name and tags) that a process keeps; values of further ones are dropped and counted in ``dropped``."""

Number = Union[int, float]
Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass
class Sample:
    """One series: the sum since the last flush (counter), the latest value (gauge), or sum and counts (histogram)."""

    name: str
    kind: str  # "counter", "gauge" or "histogram"
    description: str
    tags: dict[str, str]
    value: float = 0.0
    boundaries: tuple[float, ...] = ()
    counts: list[int] = field(default_factory=list)  # one per boundary, and one for what is above the last


_lock = threading.Lock()
_samples: dict[Key, Sample] = {}
_changed: set[Key] = set()
dropped = 0


def record(
    name: str,
    kind: str,
    value: Number,
    tags: Mapping[str, str],
    description: str = "",
    boundaries: Sequence[Number] = (),
) -> None:
    """Takes one value of a series. ``boundaries`` ascend; a value equal to one falls into its bucket."""
    global dropped
    key = (name, kind, tuple(sorted(tags.items())))
    with _lock:
        s = _samples.get(key)
        if s is None:
            if len(_samples) >= MAX_SERIES:
                dropped += 1
                return
            s = _samples[key] = Sample(name, kind, description, dict(tags), boundaries=tuple(map(float, boundaries)))
            s.counts = [0] * (len(s.boundaries) + 1) if kind == "histogram" else []
        s.value = float(value) if kind == "gauge" else s.value + value
        if s.counts:
            s.counts[bisect.bisect_left(s.boundaries, value)] += 1
        _changed.add(key)


def flush(send: Callable[[list[Sample]], None]) -> int:
    """Hands what changed to ``send`` and forgets it; returns how many series that were.

    What ``send`` raises comes through, and then what it was given is kept for the next flush.
    """
    with _lock:
        taken = [(key, _samples.pop(key)) for key in _changed]
        _changed.clear()
    if not taken:
        return 0
    try:
        send([s for _, s in taken])
    except BaseException:
        _put_back(taken)
        raise
    return len(taken)


def _put_back(taken: list[tuple[Key, Sample]]) -> None:
    with _lock:
        for key, old in taken:
            new = _samples.setdefault(key, old)
            _changed.add(key)
            if new is old or old.kind == "gauge":  # a gauge that was set again is newer
                continue
            new.value += old.value
            new.counts = [a + b for a, b in zip(new.counts, old.counts)]
