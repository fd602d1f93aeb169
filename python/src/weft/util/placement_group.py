"""Placement groups: bundles of resources that are reserved together or not at all."""

from __future__ import annotations

import math
import re
from typing import Any, Optional, Union

import weft
from weft.util.scheduling_strategies import is_node_id

VALID_PLACEMENT_GROUP_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
NODE_ID_LABEL_KEY = "ray.io/node-id"

_BUNDLES_EXAMPLE = 'Bundles must be a non-empty list of resource dictionaries. For example: `[{"CPU": 1.0}, {"GPU": 1.0}]`.'
_SELECTORS_EXAMPLE = (
    "Bundle label selector must be a list of string dictionary label selectors. For example: "
    '`[{"ray.io/market_type": "spot"}, {"ray.io/accelerator-type": "A100"}]`.'
)
_NAME_RULE = (
    "must be 63 chars or less beginning and ending with an alphanumeric character ([a-z0-9A-Z]) "
    "with dashes (-), underscores (_), dots (.), and alphanumerics between."
)
_LABEL_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL_LIST = re.compile(r"!?in\((.*)\)")


class PlacementGroup:
    """A handle to a reservation, made by placement_group(); handles with the same id are equal."""

    @staticmethod
    def empty() -> PlacementGroup:
        """The handle of no group."""
        return PlacementGroup(_nil_id())

    def __init__(self, id: Any, bundle_cache: Optional[list[dict[str, float]]] = None) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @property
    def is_empty(self) -> bool:
        """Whether this is the handle of no group."""
        return bool(self.id.is_nil())

    def ready(self) -> Any:
        """A ref whose value is this handle, ready once the resources are reserved."""
        from weft import _groups

        return _groups.ready_ref(self.id.binary())

    def wait(self, timeout_seconds: Union[float, int] = 30) -> bool:
        """Waits until the resources are reserved, at most ``timeout_seconds``; whether they are."""
        from weft import _groups

        return bool(_groups.wait(self.id.binary(), timeout_seconds))

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The resources of each bundle."""
        if self.bundle_cache is None:
            from weft import _groups

            bundles = _groups.table(self.id.binary())["bundles"]
            self.bundle_cache = [bundles[i] for i in sorted(bundles)]
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """How many bundles there are."""
        return len(self.bundle_specs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and bool(self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)


def placement_group(
    bundles: list[dict[str, float]],
    strategy: Optional[str] = None,
    name: str = "",
    lifetime: Optional[str] = None,
    _soft_target_node_id: Optional[str] = None,
    bundle_label_selector: Optional[list[dict[str, str]]] = None,
    topology_strategy: Optional[dict[str, str]] = None,
) -> PlacementGroup:
    """Asks for a group of bundles and returns at once; ready() and wait() say when it is there.

    ``strategy`` is "PACK" (the default), "SPREAD", "STRICT_PACK" or "STRICT_SPREAD". ``lifetime="detached"`` makes
    the group outlive this program. ``bundle_label_selector`` has one selector of node labels per bundle.
    ``topology_strategy`` maps labels to strategies and stands in for ``strategy``. Raises ValueError for what
    validate_placement_group refuses.
    """
    from weft import _groups

    validate_placement_group(bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy)
    layout = strategy or (topology_strategy or {}).get(NODE_ID_LABEL_KEY, "PACK")
    bundles = [{name: float(amount) for name, amount in b.items()} for b in bundles]
    group = _groups.create(bundles, layout, name, lifetime == "detached", bundle_label_selector)
    return PlacementGroup(_id_of(group), bundles)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Gives the group's resources back; its tasks and actors are killed. Once it is removed this does nothing."""
    _check_group(placement_group)
    from weft import _groups

    _groups.remove(placement_group.id.binary())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of that name in this namespace. Raises ValueError if there is none."""
    from weft import _groups

    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group")
    found = _groups.lookup(placement_group_name)
    if found is None:
        raise ValueError(f"Failed to look up placement group with name: {placement_group_name}")
    return PlacementGroup(_id_of(found))


def placement_group_table(placement_group: Optional[PlacementGroup] = None) -> dict[str, Any]:
    """What is known of one group, or of all of them by the hex of their ids.

    The keys are placement_group_id, name, bundles, bundles_to_node_id, strategy, state and stats.
    """
    from weft import _groups

    if placement_group is None:
        return dict(_groups.table(None))
    _check_group(placement_group)
    return dict(_groups.table(placement_group.id.binary()))


def get_current_placement_group() -> Optional[PlacementGroup]:
    """The group that the calling task or actor runs in; None if there is none."""
    group = weft.get_runtime_context().get_placement_group_id()
    return None if group is None else PlacementGroup(_id_of(bytes.fromhex(group)))


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """Raises ValueError unless the group has a bundle of that index; -1, any bundle, is always right."""
    if placement_group.id.is_nil():
        if bundle_index != -1:
            raise ValueError("If placement group is not set, the value of bundle index must be -1.")
    elif not -1 <= bundle_index < placement_group.bundle_count:
        raise ValueError(
            f"placement group bundle index {bundle_index} is invalid. Valid placement group indexes: 0-{placement_group.bundle_count - 1}"
        )


def validate_placement_group(
    bundles: list[dict[str, float]],
    strategy: Optional[str] = None,
    lifetime: Optional[str] = None,
    _soft_target_node_id: Optional[str] = None,
    bundle_label_selector: Optional[list[dict[str, str]]] = None,
    topology_strategy: Optional[dict[str, str]] = None,
) -> None:
    """Raises ValueError if placement_group() would not take these arguments."""
    if strategy and topology_strategy:
        raise ValueError(
            f"`strategy` and `topology_strategy` cannot both be specified. Pass node-level packing via `topology_strategy['{NODE_ID_LABEL_KEY}']`."
        )
    if topology_strategy is not None:
        _validate_topology(topology_strategy)
    layout = strategy or (topology_strategy or {}).get(NODE_ID_LABEL_KEY, "PACK")
    if layout not in VALID_PLACEMENT_GROUP_STRATEGIES:
        raise ValueError(f"Invalid placement group strategy {layout}. Supported strategies are: {', '.join(VALID_PLACEMENT_GROUP_STRATEGIES)}.")
    _validate_bundles(bundles)
    if bundle_label_selector is not None:
        _validate_selectors(bundle_label_selector, len(bundles))
    if lifetime not in (None, "detached"):
        raise ValueError(f"Placement group `lifetime` argument must be either `None` or 'detached'. Got {lifetime}.")
    if _soft_target_node_id and layout != "STRICT_PACK":
        raise ValueError(f"_soft_target_node_id currently only works with STRICT_PACK but got {layout}")
    if _soft_target_node_id and not is_node_id(_soft_target_node_id):
        raise ValueError(f"Invalid hex ID of _soft_target_node_id, got {_soft_target_node_id}")


def _validate_bundles(bundles: Any) -> None:
    if not isinstance(bundles, list):
        raise ValueError(f"Placement group bundles must be a list, got {type(bundles)}.")
    if not bundles:
        raise ValueError(f"{_BUNDLES_EXAMPLE} Got empty list instead.")
    for b in bundles:
        if not isinstance(b, dict) or not all(isinstance(k, str) and isinstance(v, (int, float)) for k, v in b.items()):
            raise ValueError(_BUNDLES_EXAMPLE)
        if "bundle" in b:
            raise ValueError(f"'bundle' is the name of a resource that a placement group itself has; give another. Bundle: {b}")
        if not all(0 <= v < math.inf for v in b.values()):  # also NaN
            raise ValueError(f"The amounts of a bundle's resources must be numbers that are not negative. Bundle: {b}")
        if all(v == 0 for v in b.values()):
            raise ValueError(f"Bundles cannot be an empty dictionary or resources with only 0 values. Bundles: {bundles}")


def _validate_topology(strategies: Any) -> None:
    if not isinstance(strategies, dict):
        raise ValueError(f"`topology_strategy` must be a dict, got {type(strategies).__name__}.")
    for label, strategy in strategies.items():
        if not isinstance(label, str) or not label:
            raise ValueError(f"`topology_strategy` keys must be non-empty strings, got {label!r}.")
        if strategy not in VALID_PLACEMENT_GROUP_STRATEGIES:
            raise ValueError(
                f"Invalid topology strategy '{strategy}' for label '{label}'. "
                f"Supported strategies are: {', '.join(VALID_PLACEMENT_GROUP_STRATEGIES)}."
            )
        if label != NODE_ID_LABEL_KEY and strategy != "STRICT_PACK":
            raise ValueError(
                f"Topology strategy '{strategy}' for label '{label}' is not supported yet; only 'STRICT_PACK' is "
                f"supported for topology labels other than `{NODE_ID_LABEL_KEY}` for now."
            )
    others = [label for label in strategies if label != NODE_ID_LABEL_KEY]
    if len(others) > 1:
        raise ValueError(f"`topology_strategy` currently supports at most one topology label other than `{NODE_ID_LABEL_KEY}`. Got {others}.")


def _validate_selectors(selectors: Any, bundles: int) -> None:
    if not isinstance(selectors, list):
        raise ValueError(f"Placement group bundle_label_selector must be a list, got {type(selectors)}.")
    if len(selectors) != bundles:
        raise ValueError(f"Invalid bundle label selector {selectors}. The length of `bundle_label_selector` should equal the length of `bundles`.")
    for s in selectors:
        if not isinstance(s, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in s.items()):
            raise ValueError(_SELECTORS_EXAMPLE)
        for key, value in s.items():
            wrong = label_key_error(key) or label_value_error(value)
            if wrong:
                raise ValueError(f"Invalid label selector provided in bundle_label_selector list. Detailed error: '{wrong}'")


def label_key_error(key: str) -> Optional[str]:
    """What is wrong with a label's key, ``[prefix/]name``; None if nothing is."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _LABEL_PREFIX.fullmatch(prefix):
        return f"Invalid label key prefix `{prefix}`. Prefix must be a DNS subdomain of 253 chars or less."
    if not _LABEL_NAME.fullmatch(name):
        return f"Invalid label key name `{name}`. Name {_NAME_RULE}"
    return None


def label_value_error(value: str) -> Optional[str]:
    """What is wrong with a selector's value: ``v``, ``!v``, ``in(a,b)`` or ``!in(a,b)``; None if nothing is."""
    listed = _LABEL_LIST.fullmatch(value)
    values = [v.strip() for v in listed[1].split(",")] if listed else [value[1:] if value[:1] == "!" else value]
    if (listed and not listed[1]) or any(v and not _LABEL_NAME.fullmatch(v) for v in values):
        return (
            f"Invalid label selector value `{value}`. The label selector value should contain optional operators and a "
            f"label value. Supported operators are: ! and {{'in'}}. Value {_NAME_RULE}"
        )
    return None


def _check_group(group: object) -> None:
    if not isinstance(group, PlacementGroup):
        raise TypeError(f"A placement group is needed, got {type(group)}.")


def _id_of(binary: bytes) -> Any:
    return weft.PlacementGroupID(binary)


def _nil_id() -> Any:
    return weft.PlacementGroupID.nil()
