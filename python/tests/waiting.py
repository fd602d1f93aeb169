"""What tests wait with."""

from __future__ import annotations

import time
from typing import Any, Callable


def until(condition: Callable[[], Any], timeout: float = 30) -> Any:
    """Returns what condition() does once that is true. AssertionError after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {timeout} s"
        time.sleep(0.01)
    return found
