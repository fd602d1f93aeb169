"""The Dask scheduler: each task of a Dask graph becomes a task of the cluster, which is all the scheduling there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

import dask
from dask._task_spec import Alias, DataNode, convert_legacy_graph
from dask.core import toposort

import weft
from weft.util.dask.callbacks import hooks_of, local_ray_callbacks


def ray_dask_get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Computes ``keys`` (a key, or lists of keys) of a graph; give it to Dask as ``scheduler``.

    ``ray_callbacks`` are hooks for this computation instead of the active ones; ``ray_remote_args`` are options of its
    tasks, under those of ``dask.annotate(ray_remote_args=…)``; with ``ray_persist`` the results are refs instead of
    values. Raises what a task raised; ValueError for ``resources``.
    """
    notes: dict[str, Any] = getattr(dsk, "__dask_annotations__", dict)()
    dsk = dsk.__dask_graph__() if hasattr(dsk, "__dask_graph__") else dsk  # an expression, since dask 2025.4
    options = _options_by_key(dsk, kwargs, notes)
    with local_ray_callbacks(kwargs.get("ray_callbacks")) as callbacks:
        refs = _submit_all(convert_legacy_graph(dict(dsk)), options, callbacks)
        wanted = [refs[k] for k in _flatten(keys)]
        waiting = [r for r in wanted if isinstance(r, weft.ObjectRef)]
        for hook in hooks_of(callbacks, "postsubmit_all"):
            hook(waiting, dsk)
        if kwargs.get("ray_persist"):
            return _shape(keys, iter(wanted))
        values = iter(weft.get(waiting))
        result = _shape(keys, iter([next(values) if isinstance(r, weft.ObjectRef) else r for r in wanted]))
        for hook in hooks_of(callbacks, "finish"):
            hook(result)
        return result


def ray_dask_get_sync(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """As ray_dask_get. In Ray the two differ by a pool of threads that submit; here the calling thread submits all."""
    return ray_dask_get(dsk, keys, **kwargs)


def enable_dask_on_ray(shuffle: Optional[str] = "tasks", use_shuffle_optimization: Optional[bool] = True) -> Any:
    """Makes ray_dask_get Dask's default; used as a context manager, within it only.

    ``shuffle`` is Dask's method of shuffling, "tasks" or (with a file system that all nodes share) "disk". The
    optimisation is Dask's own nowadays, and the argument has no effect.
    """
    return dask.config.set({"scheduler": ray_dask_get, "dataframe.shuffle.method": shuffle})


def disable_dask_on_ray() -> Any:
    """Makes Dask's own schedulers its default again."""
    return dask.config.set({"scheduler": None, "dataframe.shuffle.method": None})


def _submit_all(graph: Mapping[Any, Any], options: dict[Any, dict[str, Any]], callbacks: Any) -> dict[Any, Any]:
    """The ref (or the value, if it needs no task) of each key."""
    pretask, posttask = hooks_of(callbacks, "pretask"), hooks_of(callbacks, "posttask")
    # Functions of a graph may close over much; the hooks are shipped once.
    hooks = weft.put((pretask, posttask)) if pretask or posttask else None
    run = weft.remote(_run)
    refs: dict[Any, Any] = {}
    for key in _in_order(graph):
        if key not in graph:
            continue
        node = graph[key]
        if isinstance(node, Alias):
            refs[key] = refs[node.target]
        elif isinstance(node, DataNode):
            refs[key] = node.value
        else:
            deps = {k: refs[k] for k in sorted(node.dependencies, key=str)}
            refs[key] = _submit(run, node, key, deps, options.get(key, {}), hooks, callbacks)
    return refs


def _in_order(graph: Mapping[Any, Any]) -> list[Any]:
    order: Callable[..., list[Any]] = toposort
    return order(graph, {k: set(node.dependencies) for k, node in graph.items()})


def _submit(run: Any, node: Any, key: Any, deps: dict[Any, Any], options: dict[str, Any], hooks: Any, callbacks: Any) -> Any:
    for hook in hooks_of(callbacks, "presubmit"):
        instead = hook(node, key, deps)
        if instead is not None:
            return instead
    ref = run.options(name=f"dask:{key!s}", **options).remote(node, key, hooks, list(deps), *deps.values())
    for hook in hooks_of(callbacks, "postsubmit"):
        hook(node, key, deps, ref)
    return ref


def _run(
    node: Callable[[dict[Any, Any]], Any],
    key: Any,
    hooks: Optional[tuple[list[Callable[..., Any]], list[Callable[..., Any]]]],
    names: list[Any],
    *values: Any,
) -> Any:
    """In a worker: runs one task of the graph."""
    pretask, posttask = hooks or ([], [])
    states = [hook(key, values) for hook in pretask]
    result = node(dict(zip(names, values)))
    for i, hook in enumerate(posttask):
        hook(key, result, states[i] if i < len(states) else None)
    return result


def _options_by_key(dsk: Any, kwargs: dict[str, Any], noted: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    """The options of each key's task: those of the call, with those of dask.annotate over them."""
    common = dict(kwargs.get("ray_remote_args") or {})
    layers = list(getattr(dsk, "layers", {}).values())
    notes = [getattr(layer, "annotations", None) or {} for layer in layers]
    if "resources" in {**kwargs, **noted} or any("resources" in n for n in notes):
        raise ValueError('Use ray_remote_args={"resources": {...}} instead of resources={...} to specify resources.')
    options = dict.fromkeys(dsk, common)
    for key, own in noted.get("ray_remote_args", {}).items():
        options[key] = {**common, **own}
    for layer, note in zip(layers, notes):
        own = note.get("ray_remote_args")
        if own:
            options.update({key: {**common, **own} for key in layer})
    return options


def _flatten(keys: Any) -> Sequence[Any]:
    return [k for part in keys for k in _flatten(part)] if isinstance(keys, list) else [keys]


def _shape(keys: Any, values: Any) -> Any:
    """The values in the shape of ``keys``; Dask wants tuples where keys were lists."""
    return tuple(_shape(k, values) for k in keys) if isinstance(keys, list) else next(values)
