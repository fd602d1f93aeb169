"""Values that programs of every language read: plain data as CBOR, bytes as they are, protobuf messages, Arrow tables.

Plain data is None, bool, int, float, str, bytes, datetime, and lists, tuples and dicts of these. A dataclass is written as a
dict, an enumeration as its value, a numpy array as a list. References and handles of actors may be inside.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import Any, TypeVar

from google.protobuf.message import Message

from weft import _values
from weft._values import ARROW, CBOR, NONE, PROTO, RAW, Encoded, NotPortable

REF, ACTOR = 0x77656601, 0x77656602  # CBOR tags; their content is the id

M = TypeVar("M", bound=Message)


class Protobuf(bytes):
    """An encoded protobuf message, whose type its reader has to know."""

    def to(self, kind: type[M]) -> M:
        """The message, of the class ``kind``."""
        message = kind()
        message.ParseFromString(self)
        return message  # type: ignore[no-any-return,unused-ignore]


def encode(value: Any) -> Encoded:
    """The bytes of a value. Raises NotPortable if it is more than plain data."""
    if value is None:
        return Encoded(NONE, 0, [(0, b"")], b"")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Encoded(PROTO if type(value) is Protobuf else RAW, memoryview(value).nbytes, [(0, value)], b"")
    if isinstance(value, Message):
        data = value.SerializeToString()
        return Encoded(PROTO, len(data), [(0, data)], b"")
    table = _arrow(value)
    if table is not None:
        return Encoded(ARROW, table.nbytes, [(0, table)], b"")
    before, _values.found.refs = _values.found.refs, []
    try:
        data = _plain(value)
        return Encoded(CBOR, len(data), [(0, data)], b"".join(_values.found.refs))
    finally:
        _values.found.refs = before


def decode(tag: int, data: Any) -> Any:
    """The value of bytes, or of a read-only view, with one of the tags above."""
    if tag == CBOR:
        import cbor2

        return cbor2.loads(bytes(data), tag_hook=_read_tag)
    if tag == PROTO:
        return Protobuf(data)
    try:
        import pyarrow  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise TypeError("the value is an Arrow table; `pip install pyarrow` to read it") from None
    with pyarrow.ipc.open_stream(pyarrow.py_buffer(data)) as stream:
        return stream.read_all()


def _arrow(value: Any) -> Any:
    """The IPC stream of an Arrow table or batch, as a memoryview; None of anything else."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None or not isinstance(value, (pyarrow.Table, pyarrow.RecordBatch)):
        return None
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, value.schema) as stream:
        stream.write(value)
    return memoryview(sink.getvalue())


def _plain(value: Any) -> bytes:
    import cbor2

    try:
        return cbor2.dumps(value, default=_write_other, timezone=_utc())
    except NotPortable:
        raise
    except Exception as error:
        raise NotPortable(f"a {type(value).__name__} cannot be encoded for other languages: {error}") from error


def _utc() -> Any:
    """What a datetime without a timezone is in."""
    import datetime

    return datetime.timezone.utc


def _write_other(encoder: Any, value: Any) -> None:
    """Writes what is not plain data by itself."""
    import cbor2

    from weft._refs import ObjectRef
    from weft._remote import ActorHandle

    if isinstance(value, ObjectRef):
        refs = _values.found.refs
        assert refs is not None
        refs.append(value._entry.id)
        encoder.encode(cbor2.CBORTag(REF, value._entry.id))
    elif isinstance(value, ActorHandle):
        value._ray_session.share_handle(value._ray_actor)
        encoder.encode(cbor2.CBORTag(ACTOR, value._ray_actor))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        encoder.encode({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    elif isinstance(value, enum.Enum):
        encoder.encode(value.value)
    elif hasattr(value, "tolist"):  # numpy's arrays and numbers
        encoder.encode(value.tolist())
    else:
        raise NotPortable(
            f"a {type(value).__module__}.{type(value).__qualname__} cannot be encoded for other languages; "
            "use plain data (None, numbers, strings, lists, dicts), bytes, a protobuf message or an Arrow table"
        )


def _read_tag(*given: Any) -> Any:
    """Reads what has one of the tags. cbor2 gives a decoder and the tag, or the tag and more, by its version."""
    import cbor2

    tag = next(g for g in given if isinstance(g, cbor2.CBORTag))
    if tag.tag == REF:
        from weft import _refs

        return _refs._restore(bytes(tag.value))
    if tag.tag == ACTOR:
        from weft import _cross

        return _cross.UnknownHandle.of(bytes(tag.value))
    return tag
