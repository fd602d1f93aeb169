"""What pip makes of this folder: an sdist, from it a wheel that has the program, and the distribution that is called ray."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import _weft

PYTHON = Path(__file__).parents[1]


def run(*command, **env):
    environ = {k: v for k, v in os.environ.items() if k not in ("WEFT_BINARY", "PYTHONPATH")}
    done = subprocess.run(
        command, cwd="/", env={**environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, the wheel that is made from it, and ray's wheel."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(PYTHON))
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(PYTHON / "ray-shim"))
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A folder with what pip has installed from the wheels; what they depend on is this interpreter's."""
    target = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target), *map(str, built.glob("*.whl")))
    return target


def test_sdist_has_the_sources_of_the_program(built):
    (sdist,) = built.glob("weft-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"setup.py", "src/_weft.py", "src/weft/py.typed", "go/go.mod", "go/cmd/weft/main.go", "go/internal/node/node.go"} <= names
    assert not [n for n in names if n.endswith("_test.go")]


def test_without_go_the_build_says_what_it_takes(tmp_path):
    environ = {**{k: v for k, v in os.environ.items() if k != "WEFT_BINARY"}, "PATH": "/nonexistent"}
    command = [sys.executable, str(PYTHON / "setup.py"), "-q", "bdist_wheel", "--dist-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=PYTHON, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode != 0
    assert "there is no go here" in done.stdout and "https://go.dev/dl" in done.stdout and "WEFT_BINARY" in done.stdout


def test_wheel_is_of_this_platform(built):
    (wheel,) = built.glob("weft-*.whl")
    assert "-py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.getinfo("weft/_bin/weft").external_attr >> 16 & 0o111
    assert "weft/py.typed" in names and "_weft.py" in names


def test_command(installed):
    for command in (str(installed / "bin" / "weft"),), (sys.executable, "-m", "weft"):
        assert run(*command, "version", PYTHONPATH=str(installed)).startswith("weft ")
    assert run(str(installed / "bin" / "ray"), "--version", PYTHONPATH=str(installed)) == "ray, version 2.60.0 (Weft)\n"


PROGRAM = """
import importlib.metadata
import ray, weft, _weft
import ray.util.queue
from ray.exceptions import RayError

@ray.remote
def same():
    import ray, weft
    return ray is weft

assert ray is weft and ray.util.queue is weft.util.queue and RayError is weft.exceptions.RayError
assert importlib.metadata.version("ray") == "2.60.0+weft"
ray.init(num_cpus=1)
assert ray.get(same.remote())
print(_weft.find())
"""


def test_ray_is_weft_in_any_process(installed):
    assert run(sys.executable, "-c", PROGRAM, PYTHONPATH=str(installed)).strip() == str(installed / "weft" / "_bin" / "weft")


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A Python that has no program weft but what a test puts into the folder, which is in PATH."""
    monkeypatch.delenv("WEFT_BINARY", raising=False)
    monkeypatch.setattr(_weft, "_PACKED", Path("/no/wheel"))
    monkeypatch.setattr(_weft, "_BUILT", Path("/no/build"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "weft"


def test_no_program_says_where_it_was_looked_for(nowhere, monkeypatch):
    nowhere.write_text("#!/bin/sh\n")  # such as pip's own command
    nowhere.chmod(0o755)
    with pytest.raises(FileNotFoundError, match=r"/no/wheel \(from the wheel\), /no/build \(from `make build`\) and in PATH.*WEFT_BINARY"):
        _weft.find()
    monkeypatch.setenv("WEFT_BINARY", "/no/binary")
    with pytest.raises(FileNotFoundError, match="WEFT_BINARY is /no/binary"):
        _weft.find()


def test_program_in_path(nowhere):
    nowhere.write_bytes(b"\x7fELF")
    nowhere.chmod(0o755)
    assert _weft.find() == str(nowhere)


@pytest.fixture
def genuine(tmp_path):
    """Something that is laid out as Ray is, with a module that Weft has not got, and one that is compiled."""
    for name, text in {
        "__init__.py": "raise ImportError('genuine Ray must not be imported')",
        "_private/__init__.py": "",
        "util/__init__.py": "raise ImportError('Weft has this')",
        "util/extra.py": "import ray\nfrom ray.util.queue import Queue\nfrom ray.helpers import put_twice\n",
        "helpers/__init__.py": "import ray\nfrom .more import TWO\ndef put_twice(x):\n    return ray.get([ray.put(x) for _ in range(TWO)])\n",
        "helpers/more.py": "TWO = 2\n",
        "lowlevel.py": "from ray._raylet import GcsClient, ObjectRef\ndef connect():\n    return GcsClient('address')\n",
    }.items():
        path = tmp_path / "ray" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "ray" / f"compiled{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    return tmp_path


OVERLAID = """
import ray, weft
from ray.util.extra import put_twice, Queue
assert Queue is weft.util.queue.Queue

@ray.remote
def in_a_worker():
    from ray.helpers import put_twice
    return put_twice(3)

ray.init(num_cpus=1)
print(put_twice(2), ray.get(in_a_worker.remote()))
import ray.lowlevel
assert ray.lowlevel.ObjectRef is weft.ObjectRef
try:
    ray.lowlevel.connect()
except NotImplementedError as error:
    print(error)
for name in "ray.compiled", "ray.nothing":
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error)
"""


def overlaid(genuine, **env):
    program = genuine / "program.py"
    program.write_text(OVERLAID)
    path = os.pathsep.join([str(PYTHON / "src"), str(genuine)])
    return run(sys.executable, "-m", "weft._run", "--ray", str(program), PYTHONPATH=path, **env)


def test_overlay(genuine):
    said = overlaid(genuine, WEFT_RAY_OVERLAY="1").splitlines()
    assert said[0] == "[2, 2] [3, 3]"
    assert "ray._raylet.GcsClient is a compiled part of Ray" in said[1]
    assert "'ray.compiled' is a compiled part of Ray" in said[2]
    assert "neither Weft nor the Ray in" in said[3]


def test_no_overlay_unless_asked_for(genuine):
    with pytest.raises(AssertionError, match=r"Weft has no module for 'ray\.util\.extra' yet"):
        overlaid(genuine)
