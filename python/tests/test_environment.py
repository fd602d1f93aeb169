"""Runtime environments: what Weft does in its own way, which the oracle does not."""

from __future__ import annotations

import errno
import functools
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from pathlib import Path

import pytest
from conftest import ORACLE

if ORACLE:
    pytest.skip("Weft's own", allow_module_level=True)

from weft import _build, _node, _packages


@pytest.mark.parametrize(("field", "says"), [("conda", "py_executable"), ("image_uri", "weft start"), ("wombat", "there are env_vars")])
def test_what_is_not_there_says_what_to_use(ray, field, says):
    with pytest.raises(NotImplementedError, match=says):
        ray.remote(lambda: None).options(runtime_env={field: "x"}).remote()


# The file's own folder is on no worker's path, so what workers call is defined in functions.


@pytest.fixture
def job(tmp_path):
    """``job(text)`` runs a program of its own and returns the process."""

    def run(text, **popen):
        file = tmp_path / "program.py"
        file.write_text("import os, sys, time\nimport weft as ray\n" + textwrap.dedent(text))
        return subprocess.Popen(
            [sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=tmp_path, **popen
        )

    return run


def printed(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def test_a_hook_that_fails(job):
    out = printed(
        job("""
        def hook():
            raise ValueError("no luck")

        ray.init(num_cpus=1)
        bad = ray.remote(lambda: 1).options(runtime_env={"worker_process_setup_hook": hook})
        good = ray.remote(lambda: 2)

        @ray.remote(runtime_env={"worker_process_setup_hook": "no_such_module.f"})
        class Actor:
            def f(self):
                pass

        for call in (bad.remote, lambda: Actor.remote().f.remote()):
            try:
                ray.get(call())
            except ray.exceptions.RuntimeEnvSetupError as error:
                print("no luck" in str(error), "no_such_module" in str(error))
        print(ray.get(good.remote()))
    """)
    )
    assert out.splitlines() == ["True False", "False True", "2"]


def test_a_folder_of_a_task(ray, tmp_path):
    (tmp_path / "weft_t_file.txt").write_text("here")
    look = ray.remote(lambda: Path("weft_t_file.txt").read_text())
    assert ray.get(look.options(runtime_env={"working_dir": str(tmp_path)}).remote()) == "here"
    with pytest.raises(FileNotFoundError, match=r"weft_t_file\.txt") as raised:
        ray.get(look.remote())
    assert raised.value.errno == errno.ENOENT and raised.value.filename == "weft_t_file.txt"


def test_an_interpreter_of_its_own(ray):
    look = ray.remote(lambda: sys.flags.dont_write_bytecode)
    assert ray.get(look.options(runtime_env={"py_executable": f"{sys.executable} -B"}).remote()) == 1
    with pytest.raises(ray.exceptions.RuntimeEnvSetupError, match="py_executable must run a Python"):
        ray.get(look.options(runtime_env={"py_executable": "/no/such/python"}).remote())


def test_too_slow(ray, tmp_path):
    os.mkfifo(tmp_path / "never-1.0-py3-none-any.whl")
    look = ray.remote(lambda: 1)
    env = {"pip": ["--no-index", str(tmp_path / "never-1.0-py3-none-any.whl")], "config": {"setup_timeout_seconds": 1}}
    with pytest.raises(ray.exceptions.RuntimeEnvSetupError, match="setup_timeout_seconds"):
        ray.get(look.options(runtime_env=env).remote())


@pytest.fixture
def pipe(tmp_path):
    """A wheel that is a pipe nobody writes, for which pip waits as long as it is told to."""
    os.mkfifo(tmp_path / "slow-1.0-py3-none-any.whl")
    return tmp_path / "slow-1.0-py3-none-any.whl"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("eager", [True, False])
def test_nothing_is_left_of_a_node_that_ends_while_it_builds(job, pipe, end, eager):
    """Nor while it builds what no task has asked for yet."""
    env = {"pip": ["--no-index", str(pipe)]}
    process = job(f"""
        ray.init(num_cpus=1, runtime_env={env if eager else {}!r})
        from weft import _api
        print(_api._node_here.process.pid, flush=True)
        if {eager}:
            sys.stdin.read()
        ray.get(ray.remote(lambda: 1).options(runtime_env={env!r}).remote())
    """)
    node = int(process.stdout.readline())
    writer = os.open(pipe, os.O_WRONLY)  # returns when pip has opened it
    holders = processes_with(str(pipe))
    assert holders
    os.kill(node, end)
    with pytest.raises(BrokenPipeError):
        while True:
            os.write(writer, b"x" * 65536)
    while any(os.path.exists(f"/proc/{pid}") for pid in holders):
        os.sched_yield()
    os.close(writer)
    process.communicate(timeout=300)  # it finds that its node is gone, and removes its folder


def test_why_a_task_waits_for_its_environment(job, pipe):
    process = job(f"""
        context = ray.init(num_cpus=1)
        ref = ray.remote(lambda: 1).options(runtime_env={{"pip": ["--no-index", {str(pipe)!r}]}}).remote()
        print(context["address"], ref.hex(), flush=True)
        ray.get(ref)
    """)
    address, ref = process.stdout.readline().split()
    with open(pipe, "wb"):  # by then pip has opened it
        done = subprocess.run([_node._binary(), "why", ref], env={**os.environ, "WEFT_ADDRESS": address}, capture_output=True, text=True)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert "its runtime environment is being built" in done.stdout, done.stderr


def processes_with(argument):
    """The processes that have an argument, or a file open, of that name; of pip alone it is the file."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if int(pid) != os.getpid() and argument in names:
            found.append(int(pid))
    return found


def test_a_module_by_http(ray, module_zip):
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=module_zip.parent))
    threading.Thread(target=served.serve_forever).start()
    try:
        url = f"http://127.0.0.1:{served.server_port}/"
        look = ray.remote(lambda: __import__("weft_t_served").VALUE)
        assert ray.get(look.options(runtime_env={"py_modules": [url + module_zip.name]}).remote()) == 5
        with pytest.raises(ray.exceptions.RuntimeEnvSetupError, match="404"):
            ray.get(look.options(runtime_env={"py_modules": [url + "none.zip"]}).remote())
    finally:
        served.shutdown()
        served.server_close()


@pytest.fixture
def module_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "served.zip", "w") as z:
        z.writestr("top/weft_t_served.py", "VALUE = 5\n")
    return tmp_path / "served.zip"


def test_a_package_of_several_parts(ray, tmp_path, monkeypatch):
    monkeypatch.setattr(_packages, "_PART", 1000)
    data = os.urandom(5500)
    (tmp_path / "data.bin").write_bytes(data)
    look = ray.remote(lambda: Path("data.bin").read_bytes())
    assert ray.get(look.options(runtime_env={"working_dir": str(tmp_path)}).remote()) == data


# Packages.


def pack(root, excludes=(), prefix=""):
    with zipfile.ZipFile(io.BytesIO(_packages.pack(root, prefix, list(excludes)))) as z:
        return z.namelist()


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for name in ("a.py", "b.log", "data/x.bin", "data/y.txt", "data/sub/z.bin", "deep/data/x.bin", "build/o.o"):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (root / "empty").mkdir()
    return root


ALL = ["a.py", "b.log", "build/o.o", "data/sub/z.bin", "data/x.bin", "data/y.txt", "deep/data/x.bin", "empty/"]


@pytest.mark.parametrize(
    ("patterns", "out"),
    [
        ([], []),
        (["*.log", "# comment", ""], ["b.log"]),
        (["data"], ["data/sub/z.bin", "data/x.bin", "data/y.txt", "deep/data/x.bin"]),
        (["/data/"], ["data/sub/z.bin", "data/x.bin", "data/y.txt"]),
        (["a.py/"], []),
        (["data/*.bin"], ["data/x.bin"]),
        (["data/**/*.bin"], ["data/sub/z.bin", "data/x.bin"]),
        (["**/x.bin"], ["data/x.bin", "deep/data/x.bin"]),
        (["*.bin", "!/data/x.bin"], ["data/sub/z.bin", "deep/data/x.bin"]),
        (["[ab].*"], ["a.py", "b.log"]),
        (["[!a].*"], ["b.log", "build/o.o", "data/sub/z.bin", "data/x.bin", "data/y.txt", "deep/data/x.bin"]),
        (["?.p\\y", "deep/**"], ["a.py", "deep/data/x.bin"]),
        (["empty"], ["empty/"]),
    ],
)
def test_excludes(tree, patterns, out):
    assert pack(tree, patterns) == [n for n in ALL if n not in out]


def test_ignore_files(tree, monkeypatch):
    (tree / "data" / ".gitignore").write_text("/x.bin\n")
    (tree / ".rayignore").write_text("build\n")
    ignored = [n for n in [".rayignore", *ALL] if n not in ("data/x.bin", "build/o.o")]
    assert sorted(pack(tree)) == sorted([*ignored, "data/.gitignore"])
    monkeypatch.setenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    assert "data/x.bin" in pack(tree) and "build/o.o" not in pack(tree)


def test_packages_are_the_same_for_the_same_files(tree):
    before = _packages.pack(tree, "tree/", [])
    os.utime(tree / "a.py", (1, 1))
    (tree / "loop").symlink_to(tree)
    assert _packages.pack(tree, "tree/", []) == before
    assert pack(tree, prefix="tree/")[0] == "tree/a.py"


def test_a_package_that_is_too_large_names_its_files(tree, monkeypatch):
    (tree / "huge.bin").write_bytes(os.urandom(5000))
    monkeypatch.setattr(_packages, "MAX_BYTES", 4000)
    with pytest.raises(ValueError, match=r"exceeds the maximum size.*huge\.bin"):
        pack(tree)


# Builders.


def test_tar_archives_and_what_would_leave_its_folder(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as t:
        t.addfile(tarfile.TarInfo("top/one.txt"))
    assert _build.main({"kind": "unpack", "target": str(tmp_path / "t"), "source": f"file://{archive}", "strip": True, "limit": 1 << 20}) == 0
    assert os.listdir(tmp_path / "t") == ["one.txt"]
    with tarfile.open(archive, "w:gz") as t:
        t.addfile(tarfile.TarInfo("../out.txt"))
    assert _build.main({"kind": "unpack", "target": str(tmp_path / "u"), "source": str(archive), "limit": 1 << 20}) == 1
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize(
    ("source", "says"), [("file:///no/such.zip", "cannot be read"), ("plain.txt", "neither a zip nor a tar"), ("big.zip", "more than 0 MiB")]
)
def test_archives_that_cannot_be(tmp_path, monkeypatch, capsys, source, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.txt").write_text("text")
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as z:
        z.writestr("x", b"0" * 1000)
    assert _build.main({"kind": "unpack", "target": str(tmp_path / "t"), "source": source, "limit": 100}) == 1
    assert says in capsys.readouterr().err


def test_uv_is_told_what_to_install(tmp_path, monkeypatch):
    """With a uv that writes its arguments down."""
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "uv").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    (bin / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin), prepend=os.pathsep)
    target = tmp_path / "env"
    options = {"packages": ["a", "b"], "uv_check": True, "uv_pip_install_options": ["--no-cache"]}
    assert _build.main({"kind": "packages", "target": str(target), "tool": "uv", "options": options}) == 0
    where = f"--python {target}/bin/python"
    assert (tmp_path / "said").read_text().splitlines() == [f"pip install {where} -r {target}/requirements.txt --no-cache", f"pip check {where}"]
    assert (target / "requirements.txt").read_text() == "a\nb\n"


def test_what_is_packaged_elsewhere_is_refused(ray):
    with pytest.raises(NotImplementedError, match=r"give an http"):
        ray.remote(lambda: 1).options(runtime_env={"working_dir": "s3://a/b.zip"}).remote()
