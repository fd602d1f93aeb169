"""A Python driver that calls the Go program named in its arguments; run by test_cross.py, in a process of its own."""

from __future__ import annotations

import os
import sys

import functions
import pyarrow
import pytest

import weft
from weft import exceptions as ex


@weft.remote
def readable(value):
    return weft.portable(value)


@weft.remote
def pickled(value):
    return value


@weft.remote
def add_to(counter):
    return weft.get(counter.Add.remote(1000))


def values():
    square = weft.go_function("cross.square")
    assert weft.get(square.remote(7)) == 49
    older = weft.go_function("cross.older").remote({"Name": "Ada", "Age": 36, "Tags": ["x"]})
    assert weft.get(older) == {"Name": "Ada", "Age": 37, "Tags": ["x"]}
    data = bytes(range(256)) * 1000  # more than goes in a message
    assert weft.get(weft.go_function("cross.reverse").remote(data)) == data[::-1]
    assert weft.get(weft.go_function("cross.divide", num_returns=2).remote(57)) == [5, 7]
    table = pyarrow.table({"a": list(range(20_000)), "b": ["x"] * 20_000})
    assert weft.get(weft.go_function("cross.echoArrow").remote(table)).equals(table)
    items = weft.go_function("cross.count", num_returns="streaming").remote(100)
    assert [weft.get(r) for r in items] == list(range(100))


def references():
    square = weft.go_function("cross.square")
    assert weft.get(square.remote(square.remote(3))) == 81
    assert weft.get(square.remote(readable.remote(5))) == 25
    assert weft.get(square.remote(weft.put(weft.portable(6)))) == 36
    assert weft.get(pickled.remote(square.remote(2))) == 4
    assert weft.get(weft.go_function("cross.sum").remote({"Parts": [square.remote(2), square.remote(3)]})) == 13
    assert weft.get(weft.get(weft.go_function("cross.put").remote())) == "put by Go"


def fails(ref, kind, *says):
    with pytest.raises(kind) as caught:
        weft.get(ref)
    for part in says:
        assert part in str(caught.value), (part, str(caught.value))


def troubles():
    square = weft.go_function("cross.square")
    fails(square.remote(pickled.remote(5)), ex.CrossLanguageError, "pickle", "weft.portable")
    fails(square.remote("five"), ex.CrossLanguageError, "argument 1", "int")
    fails(square.remote(1, 2), ValueError, "2 arguments and has 1")
    fails(weft.go_function("cross.sqare").remote(1), ex.CrossLanguageError, "no function of that name", "cross.square")
    fails(weft.go_function("nothing.like.it").remote(1), ex.CrossLanguageError, "it has cross.Counter, ")
    fails(weft.go_function("cross.divide").remote(57), ex.CrossLanguageError, "1 results are asked for, and it has 2")
    fails(weft.go_function("cross.fail").remote(), ex.RayTaskError, "cross.fail failed", "*errors.errorString: out of cheese")
    fails(weft.go_function("cross.panic").remote(), ex.RayTaskError, "no cheese at all", "main.go:")
    fails(weft.go_function("cross.failInPython").remote(), ex.RayTaskError, "from Go to Python: ", "too bad: deep inside", "in deeper")
    if "WEFT_ADDRESS" not in os.environ:  # a cluster waits for a larger node
        fails(square.options(num_cpus=64).remote(1), ex.TaskUnschedulableError, "64 CPU")
    with pytest.raises(TypeError, match=r"builtins.object cannot be encoded"):
        square.remote(object())
    with pytest.raises(TypeError, match="no keyword arguments"):
        square.remote(x=1)


def actors():
    counter = weft.go_actor("cross.Counter").options(name="counter").remote(5)
    assert weft.get([counter.Add.remote(1), counter.Add.remote(2)]) == [6, 8]
    assert weft.get(weft.get_actor("counter").Add.remote(10)) == 18
    assert weft.get(weft.go_function("cross.addTo").remote(counter)) == 118
    assert weft.get(add_to.remote(counter)) == 1118
    fails(counter.Divide.remote(1), ex.CrossLanguageError, "cross.Counter.Divide", "cross.Counter.Add")
    ledger = weft.remote(functions.Ledger).remote("L")
    assert weft.get(weft.go_function("cross.meet").remote(ledger)) == "L: 1"
    assert weft.get(ledger.all.remote()) == ["from Go"]
    weft.kill(counter)
    fails(counter.Add.remote(1), ex.RayActorError)


def options():
    from weft.util.placement_group import placement_group, remove_placement_group

    group = placement_group([{"CPU": 1}])
    weft.get(group.ready())
    square = weft.go_function("cross.square", placement_group=group, isolated=True, name="shown")
    assert weft.get(square.remote(3)) == 9
    remove_placement_group(group)


if __name__ == "__main__":
    weft.init(num_cpus=None if "WEFT_ADDRESS" in os.environ else 2, go_program=sys.argv[1])
    for check in (values, references, troubles, actors, options):
        check()
    weft.shutdown()
    print("all well")
