"""Options of tasks and actors: what they may be, and the template that they make."""

from __future__ import annotations

import math
from typing import Any

from weft import _state
from weft._devices import NAMES
from weft._pb import session_pb2 as pb

_TASK = {
    "num_cpus", "num_gpus", "resources", "memory", "accelerator_type", "name", "runtime_env", "scheduling_strategy", "label_selector",
    "fallback_strategy", "placement_group", "placement_group_bundle_index", "placement_group_capture_child_tasks", "enable_task_events",
    "_labels", "object_store_memory", "num_returns", "max_retries", "retry_exceptions", "max_calls",
    "_generator_backpressure_num_objects", "_num_objects_per_yield", "_metadata",
}  # fmt: skip
_ACTOR = {
    "num_cpus", "num_gpus", "resources", "memory", "accelerator_type", "name", "runtime_env", "scheduling_strategy", "label_selector",
    "fallback_strategy", "placement_group", "placement_group_bundle_index", "placement_group_capture_child_tasks", "enable_task_events",
    "_labels", "object_store_memory", "max_restarts", "max_task_retries", "max_concurrency", "concurrency_groups", "lifetime", "namespace",
    "get_if_exists", "max_pending_calls", "allow_out_of_order_execution", "enable_tensor_transport", "_metadata",
    "_actor_generator_backpressure_num_objects",
}  # fmt: skip
_METHOD = {
    "num_returns", "name", "concurrency_group", "max_task_retries", "retry_exceptions", "enable_task_events", "tensor_transport",
    "_generator_backpressure_num_objects", "_num_objects_per_yield", "_labels",
}  # fmt: skip
KNOWN = {"task": _TASK, "actor": _ACTOR, "method": _METHOD}

_DEFAULT, _SPREAD, _NODE, _GROUP = range(4)


_COUNTS = {"max_retries", "max_restarts", "max_task_retries", "max_calls", "max_concurrency", "max_pending_calls"}


def check(kind: str, options: dict[str, Any]) -> None:
    """Raises for an option that does not exist or has an impossible value."""
    for key, value in options.items():
        if key not in KNOWN[kind]:
            raise ValueError(f"Invalid option keyword {key} for {kind}s. Valid ones are {sorted(KNOWN[kind])}.")
        if value is None:
            continue
        if key in _COUNTS and not isinstance(value, int):
            raise TypeError(f"The type of keyword '{key}' must be {int}, but received type {type(value)}")
        if key in ("num_cpus", "num_gpus", "memory"):
            _amount(key, value)
            if key == "num_gpus":
                _whole("GPU", value)
        elif key == "resources":
            _resources(value)
        elif key in ("max_retries", "max_restarts", "max_task_retries"):
            if value < -1:
                raise ValueError(f"The keyword '{key}' only accepts -1 (no limit), 0 or a positive integer, not {value!r}.")
        elif key == "max_calls" and value < 0:
            raise ValueError(f"The keyword 'max_calls' only accepts None, 0 or a positive integer, not {value!r}.")
        elif key == "max_concurrency" and value < 1:
            raise ValueError(f"The keyword '{key}' only accepts a positive integer, not {value!r}.")
        elif key == "num_returns" and not (value in ("streaming", "dynamic") or (isinstance(value, int) and value >= 0)):
            raise ValueError(f"The keyword 'num_returns' only accepts 0 or a positive integer, or 'streaming', not {value!r}.")
        elif key == "retry_exceptions" and not (isinstance(value, bool) or _exceptions(value)):
            raise ValueError("The keyword 'retry_exceptions' must be either a boolean or a list of exceptions")
        elif key == "lifetime" and value not in ("detached", "non_detached"):
            raise ValueError("actor `lifetime` argument must be one of 'detached', 'non_detached' and None.")
        elif key == "name" and (not isinstance(value, str) or (kind == "actor" and value == "")):
            raise ValueError(f"The name of an {kind} is a string that is not empty, not {value!r}.")
    if options.get("get_if_exists") and not options.get("name"):
        raise ValueError("The actor name must be specified to use `get_if_exists`.")


def _exceptions(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(v, type) and issubclass(v, Exception) for v in value)


def _amount(key: str, value: Any) -> int:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value) or math.isinf(value) or value < 0:
        raise ValueError(f"The amount of '{key}' must be a number that is not negative, not {value!r}.")
    return round(value * 10_000)


def _whole(name: str, value: float) -> None:
    """More than one device is given whole."""
    if name in NAMES and value > 1 and value != int(value):
        raise ValueError(f"{name} resource quantities >1 must be whole numbers. The specified quantity {value} is invalid.")


def _resources(value: Any) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"The type of keyword 'resources' must be dict, but received type {type(value)}")
    for name, amount in value.items():
        if name in ("CPU", "GPU"):
            raise ValueError(f"Use the 'num_{name.lower()}s' keyword instead of '{name}' in 'resources' keyword")
        _amount(name, amount)
        _whole(name, amount)


def _vector(options: dict[str, Any], cpus: float) -> dict[str, int]:
    """Amounts in 1/10,000."""
    out = {}
    given = options.get("num_cpus")
    for name, value in (
        ("CPU", cpus if given is None else given),
        ("GPU", options.get("num_gpus")),
        ("memory", options.get("memory")),
        *(options.get("resources") or {}).items(),
    ):
        if value:
            out[name] = _amount(name, value)
    if options.get("accelerator_type"):
        out[f"accelerator_type:{options['accelerator_type']}"] = 10
    return out


def template(what: str, options: dict[str, Any], **fields: Any) -> Any:
    """The Template of a task or of an actor's creation."""
    t = pb.Template(**{"language": "python", "isolated": True, **fields})
    for name, amount in _vector(options, 1 if what == "task" else 0).items():
        t.resources[name] = amount
    for key, value in (options.get("label_selector") or {}).items():
        _term(t.selector.add(), key, value)
    _strategy(t, options)
    if t.strategy_group:
        need = dict(t.resources)
        if what == "actor" and options.get("num_cpus") is None:
            need["CPU"] = 10_000  # to be placed, as Ray has it; it holds none
        _check_bundles(t, options, need)
    return t


def _term(term: Any, key: str, value: str) -> None:
    """One of Ray's: "v", "!v", "in(a,b)", "!in(a,b)"."""
    term.key = key
    if value.startswith("!"):
        setattr(term, "not", True)
        value = value[1:]
    if value.startswith("in(") and value.endswith(")"):
        term.values.extend(v.strip() for v in value[3:-1].split(","))
    else:
        term.values.append(value)


def _strategy(t: Any, options: dict[str, Any]) -> None:
    strategy = options.get("scheduling_strategy")
    group, bundle = options.get("placement_group"), options.get("placement_group_bundle_index", -1)
    if group is not None and group != "default" and strategy is None:
        _in_group(t, group, bundle)
        t.captures = bool(options.get("placement_group_capture_child_tasks"))
    elif strategy == "SPREAD":
        t.strategy = _SPREAD
    elif strategy is None and (group == "default" or "placement_group" not in options):
        t.strategy_group = _state.captured()
        if t.strategy_group:
            t.strategy, t.strategy_bundle, t.captures = _GROUP, -1, True
    elif strategy in (None, "DEFAULT"):
        pass
    elif hasattr(strategy, "placement_group"):
        if strategy.placement_group is not None:
            _in_group(t, strategy.placement_group, strategy.placement_group_bundle_index)
            t.captures = bool(strategy.placement_group_capture_child_tasks)
    elif hasattr(strategy, "node_id"):
        t.strategy, t.strategy_node, t.strategy_soft = _NODE, bytes.fromhex(strategy.node_id), bool(strategy.soft)
    elif not hasattr(strategy, "hard"):
        raise ValueError(f"scheduling_strategy {strategy!r}: want 'DEFAULT', 'SPREAD' or an object of weft.util.scheduling_strategies")


def _in_group(t: Any, group: Any, bundle: int) -> None:
    if group.id.is_nil():
        return
    if bundle != -1 and not 0 <= bundle < group.bundle_count:
        raise ValueError(f"placement group bundle index {bundle} is invalid. Valid placement group indexes: 0-{group.bundle_count}")
    t.strategy, t.strategy_group, t.strategy_bundle = _GROUP, group.id.binary(), bundle


def _check_bundles(t: Any, options: dict[str, Any], need: Any) -> None:
    """Raises ValueError if what is asked for fits into no bundle of the group that was given."""
    group = getattr(options.get("scheduling_strategy"), "placement_group", None) or options.get("placement_group")
    if group is None or group == "default":  # it runs in its parent's
        return
    bundles = group.bundle_specs if t.strategy_bundle < 0 else [group.bundle_specs[t.strategy_bundle]]
    if not any(all(round(bundle.get(name, 0) * 10_000) >= amount for name, amount in need.items()) for bundle in bundles):
        asked = {name: amount / 10_000 for name, amount in need.items()}
        raise ValueError(f"{t.name} asks for {asked}, which fits into none of the placement group's bundles: {bundles}")
