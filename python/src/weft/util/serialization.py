"""Pickling of one's own types: register_serializer."""

from __future__ import annotations

from typing import Any, Callable


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Sends objects of a class as ``serializer(obj)`` and rebuilds them with ``deserializer``.

    This holds for the process that calls it, so call it in each that sends such objects; who receives needs nothing.
    """
    from weft import _values

    _values.register_serializer(cls, serializer=serializer, deserializer=deserializer)


def deregister_serializer(cls: type) -> None:
    """Undoes register_serializer in this process; does nothing if there was none."""
    from weft import _values

    _values.deregister_serializer(cls)
