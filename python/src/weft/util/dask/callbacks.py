"""Hooks around the tasks of a Dask graph."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Optional, Union

from dask.callbacks import Callback

import weft

HOOKS = ("presubmit", "postsubmit", "pretask", "posttask", "postsubmit_all", "finish")

_active: list[RayDaskCallback] = []


class RayDaskCallback(Callback):
    """Hooks for schedulers of this package; subclass it, or give functions by name (``ray_pretask=…``).

    As a context manager it is active for the computations within; register() makes it active until unregister().

    - ``_ray_presubmit(task, key, deps)``: before a task is submitted; what it returns, if not None,
      is the result instead.
    - ``_ray_postsubmit(task, key, deps, object_ref)``: after it was.
    - ``_ray_pretask(key, object_refs)``: in the worker, before the task runs.
    - ``_ray_posttask(key, result, pre_state)``: in the worker, after it; pre_state is what pretask returned.
    - ``_ray_postsubmit_all(object_refs, dsk)``: once all were submitted, with the refs of the results.
    - ``_ray_finish(result)``: with the values of the results.
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name in HOOKS:
            hook = hooks.pop(f"ray_{name}", None)
            if hook is not None:
                setattr(self, f"_ray_{name}", hook)
        super().__init__(**hooks)  # type: ignore[no-untyped-call]

    def __enter__(self) -> RayDaskCallback:
        self.register()
        return self

    def __exit__(self, *exc: object) -> None:
        self.unregister()

    def register(self) -> None:
        """Makes the hooks active."""
        _active.append(self)

    def unregister(self) -> None:
        """Undoes register()."""
        _active.remove(self)


@contextlib.contextmanager
def local_ray_callbacks(
    callbacks: Optional[Union[RayDaskCallback, Iterable[RayDaskCallback]]] = None,
) -> Iterator[list[RayDaskCallback]]:
    """The hooks for one computation: those given, else those that are active."""
    if callbacks is None:
        yield list(_active)
    elif isinstance(callbacks, RayDaskCallback):
        yield [callbacks]
    else:
        yield list(callbacks)


def hooks_of(callbacks: Iterable[RayDaskCallback], name: str) -> list[Callable[..., Any]]:
    """The hooks of that name, without those that are not there."""
    found = (getattr(c, f"_ray_{name}", None) for c in callbacks)
    return [f for f in found if f is not None]


class ProgressBarCallback(RayDaskCallback):
    """Shows on stderr how many tasks of the graph are done."""

    def __init__(self) -> None:
        super().__init__()
        self._refs: list[Any] = []
        self._thread: Optional[threading.Thread] = None

    def _ray_postsubmit(self, task: Any, key: Any, deps: Any, object_ref: Any) -> None:
        self._refs.append(object_ref)

    def _ray_postsubmit_all(self, object_refs: Sequence[Any], dsk: Any) -> None:
        refs, self._refs = self._refs, []
        self._thread = threading.Thread(target=self._show, args=(refs,), name="weft-dask-progress", daemon=True)
        self._thread.start()

    def _ray_finish(self, result: Any) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _show(self, refs: list[Any]) -> None:
        total, rest = len(refs), list(dict.fromkeys(refs))
        while rest:
            _, rest = weft.wait(rest, num_returns=min(len(rest), max(1, total // 100)), fetch_local=False)
            print(f"\r{total - len(rest)}/{total} tasks done", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
