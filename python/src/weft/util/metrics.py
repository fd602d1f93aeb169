"""Counters, gauges and histograms of the application's own, exported by the node with the prefix ``ray_``."""

from __future__ import annotations

import re
import warnings
from typing import Any, Optional, Union

from weft import _metrics

Number = Union[int, float]
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class Metric:
    """What the three kinds share: a name, a description, and the keys of its tags.

    Raises ValueError for an empty name and TypeError for tag keys that are not a tuple of str. A name that the
    exporter could not carry is warned of, and its values go nowhere.
    """

    _kind = ""

    def __init__(self, name: str, description: str = "", tag_keys: Optional[tuple[str, ...]] = None) -> None:
        if len(name) == 0:
            raise ValueError("Empty name is not allowed. Please provide a metric name.")
        self._name = name
        self._description = description
        self._tag_keys = tag_keys or ()
        self._default_tags: dict[str, str] = {}
        self._boundaries: tuple[Number, ...] = ()
        if not isinstance(self._tag_keys, tuple):
            raise TypeError(f"tag_keys should be a tuple type, got: {type(self._tag_keys)}")
        for key in self._tag_keys:
            if not isinstance(key, str):
                raise TypeError(f"Tag keys must be str, got {type(key)}.")
        self._discarded = not _NAME.fullmatch(name)
        if self._discarded:
            warnings.warn(
                f"Invalid metric name: {name}. Metric will be discarded and data will not be collected or published. "
                "Metric names can only contain letters, numbers, _, and :. Metric names cannot start with numbers.",
                UserWarning,
                stacklevel=3,
            )

    def set_default_tags(self, default_tags: dict[str, str]) -> Any:
        """Sets the values that tags have unless a record says otherwise; returns the metric.

        Raises ValueError for a key that was not declared, TypeError for a value that is not a str.
        """
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(f"Unrecognized tag key {key}.")
            if not isinstance(value, str):
                raise TypeError(f"Tag values must be str, got {type(value)}.")
        self._default_tags = dict(default_tags)
        return self

    @property
    def info(self) -> dict[str, Any]:
        """name, description, tag_keys and default_tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": self._default_tags,
        }

    def _record(self, value: Number, tags: Optional[dict[str, str]]) -> None:
        merged = {**self._default_tags, **(tags or {})}
        for v in merged.values():
            if not isinstance(v, str):
                raise TypeError(f"Tag values must be str, got {type(v)}.")
        missing = [k for k in self._tag_keys if k not in merged]
        if missing:
            raise ValueError(f"Missing value for tag key(s): {','.join(missing)}.")
        if not self._discarded:
            _metrics.record(self._name, self._kind, value, merged, self._description, self._boundaries)


class Counter(Metric):
    """A sum that only grows."""

    _kind = "counter"

    def inc(self, value: Number = 1.0, tags: Optional[dict[str, str]] = None) -> None:
        """Adds ``value``. Raises ValueError unless it is above 0 and each tag has one, TypeError for other types."""
        _check_number(value)
        if value <= 0:
            raise ValueError(f"value must be >0, got {value}")
        self._record(value, tags)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (Counter, (self._name, self._description, self._tag_keys), self._default_tags)


class Gauge(Metric):
    """The latest of some values."""

    _kind = "gauge"

    def set(self, value: Optional[Number], tags: Optional[dict[str, str]] = None) -> None:
        """Sets the value; None does nothing. Raises TypeError for other types, ValueError for a tag without value."""
        if value is None:
            return
        _check_number(value)
        self._record(value, tags)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (Gauge, (self._name, self._description, self._tag_keys), self._default_tags)


class Histogram(Metric):
    """How many values fell into each bucket.

    ``boundaries`` are the upper ends of the buckets, all above 0; one more bucket has the rest. Raises ValueError
    without them.
    """

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Optional[list[float]] = None,
        tag_keys: Optional[tuple[str, ...]] = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            raise ValueError('boundaries argument should be provided when using the Histogram class. e.g., Histogram("name", boundaries=[1.0, 2.0])')
        for i, b in enumerate(boundaries):
            if b <= 0:
                raise ValueError(f"Invalid `boundaries` argument at index {i}, {boundaries}. Use positive values for the arguments.")
        self.boundaries = list(boundaries)
        self._boundaries = tuple(sorted(boundaries))

    def observe(self, value: Number, tags: Optional[dict[str, str]] = None) -> None:
        """Counts ``value``. Raises TypeError for other types, ValueError for a tag key without value."""
        _check_number(value)
        self._record(value, tags)

    @property
    def info(self) -> dict[str, Any]:
        """name, description, tag_keys, default_tags and boundaries."""
        return {**super().info, "boundaries": self.boundaries}

    def __reduce__(self) -> tuple[Any, ...]:
        args = (self._name, self._description, self.boundaries, self._tag_keys)
        return _rebuild, (Histogram, args, self._default_tags)


def _rebuild(cls: type, args: tuple[Any, ...], default_tags: dict[str, str]) -> Any:
    return cls(*args).set_default_tags(default_tags)


def _check_number(value: object) -> None:
    if not isinstance(value, (int, float)):
        raise TypeError(f"value must be int or float, got {type(value)}.")
