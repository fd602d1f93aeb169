"""Values as bytes: pickle 5, with large buffers beside the pickle so that a reader need not copy them.

A value without such buffers is its pickle. Otherwise it is laid out as

    16 bytes   0, "WEFT", version (1 byte), 2 unused, number of buffers n (u32), unused
    8 + 16 n   length of the pickle (u64); offset and length of each buffer (u64 each)
    pickle
    buffers    each at a multiple of 64 bytes

All integers are little-endian. A pickle begins with 0x80, so the first byte tells.
"""

from __future__ import annotations

import io
import pickle
import struct
import threading
from typing import Any, Callable, NamedTuple, Optional

import cloudpickle

NONE, RAW, CBOR, PROTO, ARROW, PICKLE = range(6)

_HEAD = struct.Struct("<B4sB2xI4x")
_ALIGN = 64


class Encoded(NamedTuple):
    """A value's bytes in parts that are to be written at offsets, and the ids of the references inside."""

    tag: int
    size: int
    parts: list[tuple[int, Any]]
    refs: bytes

    def data(self) -> bytes:
        """All bytes in one piece."""
        if len(self.parts) == 1:
            part = self.parts[0][1]
            return part if isinstance(part, bytes) else bytes(part)
        whole = bytearray(self.size)
        self.write(memoryview(whole))
        return bytes(whole)

    def write(self, room: memoryview) -> None:
        for at, part in self.parts:
            view = memoryview(part).cast("B")
            room[at : at + view.nbytes] = view


class NotPortable(TypeError):
    """A value that programs of other languages could not read."""


class Portable:
    """A value that is to be encoded for programs of every language."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        raise NotPortable("weft.portable(value) is for what a task returns or put() stores, alone: inside another value it is pickled")


class _Found(threading.local):
    """References met while this thread pickles."""

    def __init__(self) -> None:
        self.refs: Optional[list[bytes]] = None


found = _Found()

_reducers: dict[type, Callable[[Any], Any]] = {}


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Has instances of ``cls`` pickled as what ``serializer`` returns, in this process, and made again by ``deserializer``."""
    _reducers[cls] = lambda value: (deserializer, (serializer(value),))


def deregister_serializer(cls: type) -> None:
    """Undoes register_serializer; nothing happens if there was none."""
    _reducers.pop(cls, None)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, obj: Any) -> Any:
        reduce = _reducers.get(type(obj))
        return reduce(obj) if reduce is not None else super().reducer_override(obj)


_SIMPLE = frozenset((int, float, str, bytes, bool, type(None)))
_CONTAINERS = (list, tuple, dict)


def _dump(value: Any, buffers: Optional[list[pickle.PickleBuffer]]) -> bytes:
    kind = type(value)
    # The C pickler is several times faster; what it refuses, or would pickle by a
    # name that workers do not have, is cloudpickle's.
    if kind in _SIMPLE or (kind in _CONTAINERS and not _reducers and _plain(value, 0)):
        return pickle.dumps(value, 5)
    out = io.BytesIO()
    callback = None if buffers is None else lambda b: _take(b, buffers)
    _Pickler(out, protocol=5, buffer_callback=callback).dump(value)
    return out.getvalue()


def _plain(value: Any, depth: int) -> bool:
    """Whether value is a small container of simple values."""
    if depth > 3 or len(value) > 16:
        return False
    items = [*value.keys(), *value.values()] if type(value) is dict else value
    for item in items:
        kind = type(item)
        if kind not in _SIMPLE and not (kind in _CONTAINERS and _plain(item, depth + 1)):
            return False
    return True


def _take(buffer: pickle.PickleBuffer, into: list[pickle.PickleBuffer]) -> bool:
    """Takes a contiguous buffer out of the pickle; small ones stay in it (a true answer)."""
    try:
        view = buffer.raw()
    except BufferError:  # not contiguous
        return True
    if view.nbytes < 1024:
        return True
    into.append(buffer)
    return False


def dumps(value: Any) -> bytes:
    """The pickle of value in one piece; references inside are not counted."""
    return _dump(value, None)


def encode(value: Any) -> Encoded:
    """Pickles a value. Raises what its pickling raises, with a hint what could not be."""
    kind = type(value)
    if kind is bytes and len(value) >= 1024:
        return Encoded(RAW, len(value), [(0, value)], b"")
    if kind in _SIMPLE or (kind in _CONTAINERS and not _reducers and _plain(value, 0)):
        data = pickle.dumps(value, 5)
        return Encoded(PICKLE, len(data), [(0, data)], b"")
    if kind is Portable:
        from weft import _portable

        return _portable.encode(value.value)
    buffers: list[pickle.PickleBuffer] = []
    before, found.refs = found.refs, []
    try:
        data = _dump(value, buffers)
        refs = b"".join(found.refs)
    except (TypeError, pickle.PicklingError, AttributeError) as error:
        raise TypeError(
            f"cannot pickle {type(value).__name__}: {error}; weft.util.inspect_serializability(value) finds the part that is to blame"
        ) from error
    finally:
        found.refs = before
    if not buffers:
        return Encoded(PICKLE, len(data), [(0, data)], refs)
    return _lay_out(data, [b.raw() for b in buffers], refs)


def _lay_out(data: bytes, views: list[memoryview], refs: bytes) -> Encoded:
    at = _HEAD.size + 8 + 16 * len(views) + len(data)
    table, parts = [len(data)], []
    for view in views:
        at = -(-at // _ALIGN) * _ALIGN
        table += at, view.nbytes
        parts.append((at, view))
        at += view.nbytes
    head = _HEAD.pack(0, b"WEFT", 1, len(views)) + struct.pack(f"<{len(table)}Q", *table) + data
    return Encoded(PICKLE, at, [(0, head), *parts], refs)


def decode(tag: int, data: Any) -> Any:
    """The value of bytes (or of a read-only view, which what is returned may share)."""
    if tag == PICKLE:
        if data[0] != 0:
            return pickle.loads(data)
        return _read(memoryview(data))
    if tag == RAW:
        return bytes(data)
    if tag == NONE:
        return None
    if tag in (CBOR, PROTO, ARROW):
        from weft import _portable

        return _portable.decode(tag, data)
    raise TypeError(f"a value with the encoding {tag} cannot be read in Python")


def _read(view: memoryview) -> Any:
    _, mark, version, count = _HEAD.unpack_from(view)
    if mark != b"WEFT" or version != 1:
        raise TypeError("a pickled value has a layout that this version of Weft does not know")
    table = struct.unpack_from(f"<{1 + 2 * count}Q", view, _HEAD.size)
    start = _HEAD.size + 8 + 16 * count
    buffers = [view[at : at + size] for at, size in zip(table[1::2], table[2::2])]
    return pickle.loads(view[start : start + table[0]], buffers=buffers)
