"""What weft._frames writes and reads is what the protobuf library does."""

import random

from weft import _frames
from weft._pb import session_pb2 as pb


def some_bytes(r, most):
    return r.randbytes(r.choice((0, 1, 2, r.randint(0, most))))


def test_written_as_protobuf_writes():
    r = random.Random(4)
    for _ in range(3000):
        tag, data, refs = r.randint(0, 127), some_bytes(r, 40_000), some_bytes(r, 200)
        value = pb.Value(tag=tag, data=data, size=len(data), refs=refs if data else b"")
        encoded = _frames.value(tag, data, refs)
        assert encoded == value.SerializeToString()
        seq, oid = r.getrandbits(r.randint(1, 64)) or 1, r.randbytes(20)
        assert _frames.put(seq, encoded) == pb.Put(seq=seq, value=value).SerializeToString()
        args = [pb.Arg(value=value), pb.Arg(object=oid)]
        assert _frames.value_arg(encoded) + _frames.object_arg(oid) == pb.Submit(args=args).SerializeToString()
        done = pb.Result(task=oid[:16], attempt=r.randint(1, 300), lease=r.choice((0, seq)), returns=[value], ran=r.randint(1, 1 << 60))
        assert _frames.result(done.task, done.attempt, done.lease, encoded, done.ran) == done.SerializeToString()
        prefix = pb.Submit(template=r.randint(1, 60_000), actor=r.randbytes(16)).SerializeToString()
        whole = pb.Submit.FromString(_frames.submit(prefix, seq, _frames.value_arg(encoded)))
        assert whole == pb.Submit(template=whole.template, actor=whole.actor, seq=seq, args=args[:1])


def test_small_values_are_read_and_others_left():
    r = random.Random(5)
    read = 0
    for _ in range(20_000):
        data = some_bytes(r, 200)
        value = pb.Value(tag=r.choice((0, 2, 5)), data=data, size=r.choice((len(data), len(data), r.randint(0, 300))))
        choice = r.randint(0, 5)
        if choice == 1:
            value.refs = r.randbytes(20)
        elif choice == 2:
            value.at.offset = r.randint(0, 5)
        elif choice == 3:
            value.error.message = "x" * r.randint(0, 5)
        m = pb.ObjectValue(object=r.randbytes(r.choice((20, 20, 19))), value=value)
        found = _frames.small_value(m.SerializeToString())
        if found is not None:
            read += 1
            assert found == (m.object, value.tag, value.data) and not value.refs and not value.HasField("at") and not value.HasField("error")
    assert read > 1500
    assert _frames.small_value(pb.ObjectValue(object=b"o" * 20, value=pb.Value(tag=5, data=b"data", size=4)).SerializeToString()) == (
        b"o" * 20,
        5,
        b"data",
    )


def test_positional():
    from inspect import signature

    from weft._remote import positional

    assert positional(signature(lambda: 0)) == range(1)
    assert positional(signature(lambda a, /, b=1, *, c=2: 0)) == range(1, 3)
    assert positional(signature(lambda a, *, b: 0)) == range(0)
    assert 1 in positional(signature(lambda a, *b, **c: 0)) and 0 not in positional(signature(lambda a, *b: 0))
    assert 1000 in positional(signature(lambda a, *b: 0))
