"""Messages put together and taken apart by hand: those that every call has.

For a small message most of what the protobuf library does is to make objects. What is here is what it would write, byte for
byte, and reads only the usual shape of a message: for another the answer is None, and the library reads it.
"""

from __future__ import annotations

from typing import Optional

_BYTE = [bytes((n,)) for n in range(256)]


def varint(n: int) -> bytes:
    """n as protobuf writes unsigned numbers."""
    out = b""
    while n > 0x7F:
        out += _BYTE[n & 0x7F | 0x80]
        n >>= 7
    return out + _BYTE[n]


def value(tag: int, data: bytes, refs: bytes) -> bytes:
    """A Value whose bytes are in it. ``tag`` is below 128."""
    out = b"\x08" + _BYTE[tag] if tag else b""
    if not data:
        return out
    size = varint(len(data))
    if refs:
        return out + b"\x12" + size + data + b"\x22" + varint(len(refs)) + refs + b"\x30" + size
    return out + b"\x12" + size + data + b"\x30" + size


def value_arg(encoded: bytes) -> bytes:
    """An argument of a Submit: a Value."""
    inner = b"\x0a" + varint(len(encoded)) + encoded
    return b"\x1a" + varint(len(inner)) + inner


def object_arg(oid: bytes) -> bytes:
    """An argument of a Submit: an object."""
    return b"\x1a\x16\x12\x14" + oid


def submit(prefix: bytes, seq: int, args: bytes) -> bytes:
    """A Submit: the part that many share, and what is its own."""
    return prefix + b"\x11" + seq.to_bytes(8, "little") + args


def put(seq: int, encoded: bytes) -> bytes:
    """A Put of a Value."""
    return b"\x09" + seq.to_bytes(8, "little") + b"\x12" + varint(len(encoded)) + encoded


def result(task: bytes, attempt: int, lease: int, returned: bytes, ran: int) -> bytes:
    """The Result of an attempt, from 1, that returned one Value after ``ran`` nanoseconds."""
    head = b"\x0a\x10" + task + b"\x10" + varint(attempt)
    if lease:
        head += b"\x18" + varint(lease)
    return head + b"\x22" + varint(len(returned)) + returned + b"\x31" + ran.to_bytes(8, "little")


def small_value(body: bytes) -> Optional[tuple[bytes, int, bytes]]:
    """Object, tag and bytes of an ObjectValue, if it is one of at most 127 bytes in all after the object, with nothing else."""
    n = len(body)
    if (
        30 < n < 152
        and body[0] == 0x0A
        and body[1] == 20
        and body[22] == 0x12
        and body[23] == n - 24
        and body[24] == 0x08
        and body[25] < 0x80
        and body[26] == 0x12
        and body[27] == n - 30
        and body[-2] == 0x30
    ):
        return body[2:22], body[25], body[28:-2]
    return None
