"""Go and Python in one program, from either side. The Go program is built once for all tests here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import weft

CROSS = Path(__file__).parent / "cross"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("cross") / "program"
    subprocess.run(["go", "build", "-o", str(path), "."], cwd=CROSS, check=True)
    return str(path)


def run(*command, **env):
    done = subprocess.run(command, cwd=CROSS, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return done.stdout


def test_go_calls_python(program):
    said = run(program, WEFT_PYTHON=sys.executable)
    assert "checks failed: 0" in said, said


def test_go_calls_python_through_a_node(program):
    from weft import _node

    node = _node.Node(["--cpus=2"])
    try:
        said = run(program, WEFT_PYTHON=sys.executable, WEFT_ADDRESS=node.address)
    finally:
        node.close()
    assert "checks failed: 0" in said, said


def test_python_calls_go(program):
    said = run(sys.executable, "driver.py", program)
    assert "all well" in said, said


def test_on_a_node_elsewhere(program):
    """Both directions, and the Go program's file, over a link."""
    from weft import _node

    node = _node.Node(["--cpus=2", "--head", "--listen=127.0.0.1:0"])
    try:
        address = f"weft://{node.report['cluster']}"
        from_go = run(program, WEFT_PYTHON=sys.executable, WEFT_ADDRESS=address)
        from_python = run(sys.executable, "driver.py", program, WEFT_ADDRESS=address)
    finally:
        node.close()
    assert "checks failed: 0" in from_go, from_go
    assert "all well" in from_python, from_python


def test_interpreter_without_weft(program, tmp_path):
    """The error of a program whose interpreter has not got the package says what to install."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    said = run(program, WEFT_PYTHON=str(bare))
    assert "pip install weft" in said and "No module named" in said, said


def test_no_go_program():
    with pytest.raises(ValueError, match="go build"):
        weft.init(go_program="/nonexistent") if not weft.is_initialized() else weft._api._programs("/nonexistent")


def test_portable_values():
    from weft import _portable, _values

    def there_and_back(value):
        encoded = _portable.encode(value)
        return _values.decode(encoded.tag, encoded.data())

    for value in (None, True, 1, -(1 << 70), 1.5, "ü", b"", b"raw", [1, [2]], {"a": {"b": [None]}}):
        assert there_and_back(value) == value
    with pytest.raises(_values.NotPortable, match="plain data"):
        _portable.encode([object()])


def test_portable_numpy_dataclass_and_enum():
    import dataclasses
    import enum

    import numpy

    from weft import _portable, _values

    class Colour(enum.Enum):
        RED = "red"

    @dataclasses.dataclass
    class Point:
        x: int
        colour: Colour

    encoded = _portable.encode([Point(numpy.int64(1), Colour.RED), numpy.arange(3)])
    assert _values.decode(encoded.tag, encoded.data()) == [{"x": 1, "colour": "red"}, [0, 1, 2]]


def test_portable_protobuf():
    from google.protobuf.struct_pb2 import Struct

    from weft import _portable, _values

    message = Struct()
    message["key"] = "value"
    encoded = _portable.encode(message)
    assert encoded.tag == _values.PROTO
    assert _values.decode(encoded.tag, encoded.data()).to(Struct) == message


DIGITS = """
import digits, sys, weft
weft.init(num_cpus=2, go_program=sys.argv[1])
grid = [digits.Config(h, 0.1, 0.0, 32, Epochs=e) for h, e in ((2, 2), (2, 2), (24, 10), (24, 8))]
assert digits.run(grid, folds=3, workers=2, go=True) > digits.WANTED
weft.shutdown()
"""


def test_digits_in_both_languages(tmp_path):
    """The example's sweep, half of it trained by Go: the larger networks win, whoever trained them."""
    folder = CROSS.parents[2] / "examples" / "digits"
    program = str(tmp_path / "digits")
    subprocess.run(["go", "build", "-o", program, "."], cwd=folder, check=True)
    said = run(sys.executable, "-c", DIGITS, program, PYTHONPATH=f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}").splitlines()
    assert said[0] == "1437 digits to learn from, 360 held out", said
    assert "hidden  24" in said[1] and "hidden  24" in said[2] and {said[1].split()[-1], said[2].split()[-1]} == {"Go", "Python"}, said
    assert said[-1].startswith("trained hidden  24") and "held-out accuracy 0.9" in said[-1], said
