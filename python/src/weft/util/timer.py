"""A timer for code that runs again and again: means over the last runs."""

from __future__ import annotations

import time
from collections import deque
from typing import Optional


class _Timer:
    """Times ``with`` blocks; the means are over the last ``window_size`` of them. Times are in seconds."""

    def __init__(self, window_size: int = 10) -> None:
        self._samples: deque[float] = deque(maxlen=window_size)
        self._units: deque[float] = deque(maxlen=window_size)
        self._started: Optional[float] = None
        self._total_time = 0.0
        self.count = 0

    def __enter__(self) -> _Timer:
        assert self._started is None, "concurrent updates not supported"
        self._started = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._started is not None
        self.push(time.perf_counter() - self._started)
        self._started = None

    def push(self, time_delta: float) -> None:
        """Adds one run that took so long."""
        self._samples.append(time_delta)
        self._total_time += time_delta
        self.count += 1

    def push_units_processed(self, n: float) -> None:
        """Says how many units the last run handled."""
        self._units.append(n)

    def has_units_processed(self) -> bool:
        """Whether push_units_processed was called."""
        return bool(self._units)

    @property
    def mean(self) -> float:
        """Mean time of a run; 0 before the first."""
        return sum(self._samples) / len(self._samples) if self._samples else 0.0

    @property
    def mean_units_processed(self) -> float:
        """Mean number of units of a run."""
        return sum(self._units) / len(self._units) if self._units else 0.0

    @property
    def mean_throughput(self) -> float:
        """Units a second; 0 before the first run."""
        spent = sum(self._samples)
        return sum(self._units) / spent if spent else 0.0
