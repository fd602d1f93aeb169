"""Log lines that appear once, or once a minute."""

from __future__ import annotations

import time
from typing import Optional

PERIOD_S = 60.0

_seen: set[str] = set()
_disabled = False
_periodic = False
_last = 0.0


def log_once(key: str) -> bool:
    """Whether the caller should log: true the first time for a key.

    With enable_periodic_logging() all keys are forgotten every 60 seconds.
    """
    global _last
    if _disabled:
        return False
    now = time.monotonic()
    if _periodic and now - _last > PERIOD_S:
        _seen.clear()
        _last = now
    if key in _seen:
        return False
    _seen.add(key)
    return True


def disable_log_once_globally() -> None:
    """Makes log_once false for every key in this process."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """Makes log_once true again for each key every 60 seconds."""
    global _periodic, _last
    _periodic = True
    _last = time.monotonic()


def reset_log_once(key: Optional[str] = None) -> None:
    """Forgets a key, or all of them."""
    if key is None:
        _seen.clear()
    else:
        _seen.discard(key)
