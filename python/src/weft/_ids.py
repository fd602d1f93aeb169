"""Identities. All are bytes with a length of their kind, print as hex, and compare and hash by value."""

from __future__ import annotations

import os
from typing import ClassVar, TypeVar

T = TypeVar("T", bound="BaseID")


class BaseID:
    """An identity of ``SIZE`` bytes."""

    SIZE: ClassVar[int] = 16
    __slots__ = ("_bytes",)

    def __init__(self, data: bytes) -> None:
        if not isinstance(data, bytes) or len(data) != self.SIZE:
            raise ValueError(f"a {type(self).__name__} is {self.SIZE} bytes, got {data!r}")
        self._bytes = data

    @classmethod
    def from_binary(cls: type[T], data: bytes) -> T:
        return cls(data)

    @classmethod
    def from_hex(cls: type[T], text: str) -> T:
        return cls(bytes.fromhex(text))

    @classmethod
    def from_random(cls: type[T]) -> T:
        return cls(os.urandom(cls.SIZE))

    @classmethod
    def nil(cls: type[T]) -> T:
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def size(cls) -> int:
        return cls.SIZE

    def is_nil(self) -> bool:
        return self._bytes == b"\xff" * self.SIZE

    def binary(self) -> bytes:
        return self._bytes

    def hex(self) -> str:
        return self._bytes.hex()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __reduce__(self) -> tuple[type[BaseID], tuple[bytes]]:
        return type(self), (self._bytes,)


class UniqueID(BaseID):
    __slots__ = ()


class TaskID(BaseID):
    __slots__ = ()


class ActorID(BaseID):
    __slots__ = ()


class PlacementGroupID(BaseID):
    __slots__ = ()


class NodeID(BaseID):
    SIZE = 8
    __slots__ = ()


class JobID(BaseID):
    SIZE = 4
    __slots__ = ()

    @classmethod
    def from_int(cls, number: int) -> JobID:
        """The id with that number, below 2**32."""
        return cls(number.to_bytes(cls.SIZE, "little"))


class WorkerID(BaseID):
    SIZE = 4
    __slots__ = ()


class FunctionID(BaseID):
    SIZE = 32
    __slots__ = ()


class ActorClassID(FunctionID):
    __slots__ = ()


class ClusterID(UniqueID):
    __slots__ = ()
