"""The fixtures of all tests. See oracle/README.md for what WEFT_ORACLE says."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ORACLE = os.environ.get("WEFT_ORACLE", "")
NAME = "ray" if ORACLE == "ray" else "weft"

_paths = [str(HERE)]
if ORACLE == "core":
    _paths.insert(0, str(HERE / "oracle"))
elif not ORACLE:
    _paths.insert(0, str(HERE.parent / "src"))
sys.path[:0] = _paths
os.environ["PYTHONPATH"] = os.pathsep.join([*_paths, os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="module")
def ray():
    """The library under test, started with two CPUs."""
    lib = importlib.import_module(NAME)
    lib.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield lib
    lib.shutdown()


@pytest.fixture(scope="session")
def load():
    """``load("util.queue")``: a module of the library under test."""
    return lambda module: importlib.import_module(f"{NAME}.{module}")
