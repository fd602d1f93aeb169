"""Where a task or an actor may run: the values of the option ``scheduling_strategy``."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Optional, Union

if TYPE_CHECKING:
    from weft.util.placement_group import PlacementGroup

_NODE_ID_BYTES = (8, 28)  # of Weft, of Ray
_NODE_ID_HELP = "Node ID must be a valid hex string. weft.nodes() lists all nodes and their IDs."


class PlacementGroupSchedulingStrategy:
    """Run in a bundle of a placement group.

    A bundle index of -1 is any bundle. With ``placement_group_capture_child_tasks`` the tasks that the task submits
    run in the group as well.
    """

    def __init__(
        self,
        placement_group: PlacementGroup,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: Optional[bool] = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """Run on one node, given by its id (hex, or an id object).

    If the node is gone, a ``soft`` one runs elsewhere and a hard one fails. ``_spill_on_unavailable`` (soft only)
    also goes elsewhere when the node is busy; ``_fail_on_unavailable`` (hard only) fails then. Raises ValueError for
    an id that cannot be one and for flags that do not go together.
    """

    def __init__(self, node_id: Any, soft: bool, _spill_on_unavailable: bool = False, _fail_on_unavailable: bool = False) -> None:
        self.node_id: str = node_id if isinstance(node_id, str) else node_id.hex()
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable
        self._validate()

    def _validate(self) -> None:
        if not is_node_id(self.node_id):
            raise ValueError(f"Invalid node_id '{self.node_id}'. {_NODE_ID_HELP}")
        if self._spill_on_unavailable and not self.soft:
            raise ValueError("_spill_on_unavailable cannot be set when soft is False. Please set soft to True to use _spill_on_unavailable.")
        if self._fail_on_unavailable and self.soft:
            raise ValueError("_fail_on_unavailable cannot be set when soft is True. Please set soft to False to use _fail_on_unavailable.")


def is_node_id(text: str) -> bool:
    """Whether text is the hex form of a node's id."""
    return len(text) in [2 * n for n in _NODE_ID_BYTES] and set(text) <= set(string.hexdigits)


class In:
    """The label has one of these values."""

    def __init__(self, *values: str) -> None:
        _check_values(values, "In")
        self.values = list(values)


class NotIn:
    """The label has none of these values, or is not there."""

    def __init__(self, *values: str) -> None:
        _check_values(values, "NotIn")
        self.values = list(values)


class Exists:
    """The label is there."""


class DoesNotExist:
    """The label is not there."""


LabelOperator = Union[In, NotIn, Exists, DoesNotExist]


def _check_values(values: tuple[Any, ...], operator: str) -> None:
    example = f'{operator}("value1", "value2")'
    if not values:
        raise ValueError(f"The variadic parameter of the {operator} operator must be a non-empty tuple: e.g. {example}.")
    for i, v in enumerate(values):
        if not isinstance(v, str):
            raise ValueError(f"Type of value in position {i} for the {operator} operator must be str (e.g. {example}) but got {v} of type {type(v)}.")


class LabelMatchExpression:
    """One label and what must hold for it."""

    def __init__(self, key: str, operator: LabelOperator) -> None:
        self.key = key
        self.operator = operator


class NodeLabelSchedulingStrategy:
    """Run on a node whose labels match.

    ``hard`` must hold for all its labels; among those nodes, ones for which ``soft`` holds come first. After
    construction both are lists of LabelMatchExpression. Raises ValueError if both are empty or one is not a map of
    label to operator.
    """

    def __init__(self, hard: dict[str, LabelOperator], *, soft: Optional[dict[str, LabelOperator]] = None) -> None:
        self.hard = _expressions(hard, "hard")
        self.soft = _expressions(soft, "soft")
        if not self.hard and not self.soft:
            raise ValueError("The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be empty.")


def _expressions(labels: Any, param: str) -> list[LabelMatchExpression]:
    example = '(e.g. {"key1": In("value1")})'
    if labels is None:
        return []
    if not isinstance(labels, dict):
        raise ValueError(f"The {param} parameter must be a map {example} but got type {type(labels)}.")
    for key, value in labels.items():
        if not isinstance(key, str):
            raise ValueError(f"The map key of the {param} parameter must be of type str {example} but got {key} of type {type(key)}.")
        if not isinstance(value, (In, NotIn, Exists, DoesNotExist)):
            raise ValueError(
                f"The map value for key {key} of the {param} parameter must be one of the `In`, `NotIn`, `Exists` or "
                f"`DoesNotExist` operator {example} but got {value} of type {type(value)}."
            )
    return [LabelMatchExpression(k, v) for k, v in labels.items()]


SchedulingStrategyT = Union[None, str, PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy]
"""What ``scheduling_strategy`` may be: None, "DEFAULT", "SPREAD" or one of the classes here."""
