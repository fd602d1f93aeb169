"""``import weft`` takes along only what every program needs."""

import subprocess
import sys

import pytest

HEAVY = ("asyncio", "concurrent.futures", "ssl", "subprocess", "tempfile", "urllib", "numpy", "pyarrow", "cbor2", "weft.util", "weft.dag")


@pytest.mark.parametrize("name", ["weft", "weft._worker", "weft._zygote"])
def test_import_is_light(name):
    code = f"import sys, {name}; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())
    assert name in loaded
    assert loaded.isdisjoint(HEAVY)
