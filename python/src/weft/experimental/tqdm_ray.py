"""Progress bars that work in workers too, with the interface of ``tqdm.tqdm``.

Where stderr is a terminal the bar is one line that changes; elsewhere, and in workers, whose output comes out in the
driver line by line, it is a line at most once per interval.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

DEFAULT_FLUSH_INTERVAL_S = 1.0
_BAR_CHARS = 20


class tqdm:
    """A bar over ``iterable``, or one that update() moves.

    ``total`` is how many units there are (by default the length of the iterable, None if that is not known), ``unit``
    what one is called. ``position`` is accepted and not used. ``flush_interval_s`` is the least time between two
    lines, in seconds.
    """

    def __init__(
        self,
        iterable: Optional[Iterable[Any]] = None,
        desc: Optional[str] = None,
        total: Optional[int] = None,
        unit: Optional[str] = None,
        position: Optional[int] = None,
        flush_interval_s: Optional[float] = None,
    ) -> None:
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)  # type: ignore[arg-type]
        self._iterable = iterable
        self._desc = desc or ""
        self._total = total
        self._unit = unit or "it"
        self._interval = DEFAULT_FLUSH_INTERVAL_S if flush_interval_s is None else flush_interval_s
        self._n = 0
        self._start = time.monotonic()
        self._shown = float("-inf")
        self._closed = False

    @property
    def n(self) -> int:
        """Units so far."""
        return self._n

    @property
    def total(self) -> Optional[int]:
        """Units there are, None if that is not known."""
        return self._total

    @total.setter
    def total(self, total: Optional[int]) -> None:
        self._total = total

    def set_description(self, desc: str) -> None:
        """Changes the text in front."""
        self._desc = desc
        self._show()

    def update(self, n: int = 1) -> None:
        """Adds units."""
        self._n += n
        self._show(force=self._n == self._total)

    def refresh(self) -> None:
        """Shows the bar now."""
        self._show(force=True)

    def close(self) -> None:
        """Shows the bar for the last time."""
        if not self._closed:
            self._show(force=True)
            self._closed = True
            if sys.stderr.isatty():
                print(file=sys.stderr)

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            raise ValueError("No iterable provided")
        for item in self._iterable:
            yield item
            self.update()
        self.close()

    def __enter__(self) -> tqdm:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        if self._closed or (now - self._shown < self._interval and not force):
            return
        self._shown = now
        line = self._line(now - self._start)
        if sys.stderr.isatty():
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _line(self, elapsed_s: float) -> str:
        rate = self._n / elapsed_s if elapsed_s > 0 else 0.0
        head = f"{self._desc}: " if self._desc else ""
        if not self._total:
            return f"{head}{self._n}{self._unit} [{elapsed_s:.0f}s, {rate:.2f}{self._unit}/s]"
        done = min(self._n / self._total, 1.0)
        bar = ("#" * int(done * _BAR_CHARS)).ljust(_BAR_CHARS)
        return f"{head}{done:4.0%}|{bar}| {self._n}/{self._total} [{elapsed_s:.0f}s, {rate:.2f}{self._unit}/s]"


def safe_print(*args: Any, **kwargs: Any) -> None:
    """print, on a line of its own when a bar is on the terminal."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(*args, **kwargs)


def get(refs: Sequence[Any], desc: Optional[str] = None) -> list[Any]:
    """``weft.get(refs)`` with a bar of how many are there."""
    import weft

    rest = list(dict.fromkeys(refs))
    with tqdm(desc=desc, total=len(rest)) as bar:
        while rest:
            ready, rest = weft.wait(rest, num_returns=min(len(rest), max(1, len(rest) // 100)))
            bar.update(len(ready))
    return list(weft.get(list(refs)))
