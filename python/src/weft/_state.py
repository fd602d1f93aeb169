"""The session of this process, and the task that the current thread of control runs."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import Any, Optional

from weft._session import Session

session: Optional[Session] = None
"""That of init(), or of the worker that this process is."""

running: ContextVar[Any] = ContextVar("weft_running", default=None)
"""The _worker.Job that runs here."""


def current() -> Session:
    """The session; starts one as init() does if there is none."""
    if session is None:
        from weft import _api

        _api.init()
    s = session
    assert s is not None
    if s.forked:
        s.check()
    return s


def placed() -> Any:
    """What describes where the caller runs: its task's template, or that of its actor's creation; None in a driver."""
    job = running.get()
    if job is None:
        return None
    actor = session.worker.actor if job.actor and session is not None else None
    return job.template if actor is None else actor.template


def captured() -> bytes:
    """The placement group in which what the caller submits runs, unless it says otherwise."""
    template = placed()
    return template.strategy_group if template is not None and template.captures else b""


def _forked() -> None:
    if session is not None:
        session.leave_to_parent()


os.register_at_fork(after_in_child=_forked)
