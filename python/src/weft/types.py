"""Types for annotations: ``ObjectRef[T]`` is a ref to a value of type T."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class ObjectRef(Generic[T]):
    """A ref to a value of type T; for annotations only, real refs are weft.ObjectRef."""
