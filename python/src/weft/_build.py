"""Builds a piece of a runtime environment: ``python -m weft._build``, started by a node.

The node writes on the call lane, as a line of JSON, what to build; it keeps the lane open until the builder has ended. A lane that
ends before means that the node is gone, or has no more use for the piece: then the builder and all that it started end at once.
What is printed goes to the node, which shows the last of it if the builder fails.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.request
import venv
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Optional

_CHUNK = 1 << 20
_HIDDEN = "__MACOSX"  # what archives of macOS have beside their one folder


class Failure(Exception):
    """A reason that needs no traceback."""


def unpack(target: Path, source: str, limit: int, strip: bool = False) -> None:
    """Puts what an archive has into target; with ``strip``, without its one top folder. ``source`` is a path or URL."""
    inner = target / ".unpacked"
    archive = _local(target, source, limit)
    if zipfile.is_zipfile(archive):
        _unzip(archive, inner, limit)
    elif tarfile.is_tarfile(archive):
        _untar(archive, inner, limit)
    else:
        raise Failure(f"{source} is neither a zip nor a tar archive")
    root, tops = inner, [p for p in inner.iterdir() if p.name != _HIDDEN]
    if strip and len(tops) == 1 and tops[0].is_dir():
        root = tops[0]
    for child in root.iterdir():
        child.rename(target / child.name)
    shutil.rmtree(inner)
    shutil.rmtree(target / ".source", ignore_errors=True)


def wheel(target: Path, source: str, limit: int) -> None:
    """Installs a wheel, and what it needs, into the folder target."""
    file = _local(target, source, limit)
    _pip([sys.executable], ["install", "--disable-pip-version-check", "--target", str(target), str(file)], file.name)
    shutil.rmtree(target / ".source", ignore_errors=True)


def packages(target: Path, tool: str, options: dict[str, Any]) -> None:
    """Makes target a virtual environment in which this interpreter's packages are there and those of the options on top."""
    venv.EnvBuilder(system_site_packages=True, symlinks=True).create(target)
    python = [str(target / "bin" / "python")]
    _see_parent(python)
    wanted = target / "requirements.txt"
    wanted.write_text("\n".join(options["packages"]) + "\n")
    names = ", ".join(options["packages"])
    if tool == "uv":
        _uv(python, wanted, options, names)
        return
    _need_pip(python)
    if options.get("pip_version"):
        _pip(python, ["install", "--disable-pip-version-check", "pip" + options["pip_version"]], "pip" + options["pip_version"])
    _pip(python, ["install", "-r", str(wanted), *options.get("pip_install_options", ["--disable-pip-version-check"])], names)
    if options.get("pip_check"):
        _run([*python, "-m", "pip", "check", "--disable-pip-version-check"], f"`pip check` finds a conflict with {names}")


def _see_parent(python: list[str]) -> None:
    """Lets an environment made from a virtual one find that one's packages: the standard library looks in the base only."""
    if sys.prefix == sys.base_prefix:
        return
    done = subprocess.run([*python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True)
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages())
    Path(done.stdout.strip(), "_weft_parent.pth").write_text(lines)


def _uv(python: list[str], wanted: Path, options: dict[str, Any], names: str) -> None:
    version = options.get("uv_version")
    program = shutil.which("uv")
    command = [program] if program and not version else [*python, "-m", "uv"]
    if command[0] != program and (version or importlib.util.find_spec("uv") is None):
        _need_pip(python)
        _pip(python, ["install", "--disable-pip-version-check", f"uv{version or ''}"], f"uv{version or ''}")
    where = ["--python", python[0]]
    _run([*command, "pip", "install", *where, "-r", str(wanted), *options.get("uv_pip_install_options", [])], f"uv could not install {names}")
    if options.get("uv_check"):
        _run([*command, "pip", "check", *where], f"`uv pip check` finds a conflict with {names}")


def _need_pip(python: list[str]) -> None:
    if subprocess.run([*python, "-c", "import pip"], capture_output=True, stdin=subprocess.DEVNULL).returncode:
        _run([*python, "-m", "ensurepip", "--default-pip"], "the interpreter has no pip")


def _pip(python: list[str], arguments: list[str], names: str) -> None:
    _run([*python, "-m", "pip", *arguments], f"pip could not install {names}")


def _run(command: list[str], failure: str) -> None:
    status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    if status:
        raise Failure(f"{failure}: exit status {status}")


def _local(target: Path, source: str, limit: int) -> Path:
    """The path of source, which is fetched if it is elsewhere."""
    if "://" not in source:
        return Path(source)
    folder = target / ".source"
    folder.mkdir()
    file = folder / source.rsplit("/", 1)[-1]
    try:
        with urllib.request.urlopen(source) as there, open(file, "wb") as here:
            _copy(there, here, source, limit)
    except OSError as error:
        raise Failure(f"{source} cannot be read: {error}") from None
    return file


def _copy(there: Any, here: BinaryIO, source: str, limit: int) -> None:
    got = 0
    while chunk := there.read(_CHUNK):
        got += len(chunk)
        _fits(got, source, limit)
        here.write(chunk)


def _fits(size: int, what: object, limit: int) -> None:
    if size > limit:
        raise Failure(f"{what} is more than {limit >> 20} MiB, which is what the node keeps for environments")


def _unzip(archive: Path, into: Path, limit: int) -> None:
    with zipfile.ZipFile(archive) as z:
        _fits(sum(m.file_size for m in z.infolist()), archive.name, limit)
        into.mkdir()
        for member in z.infolist():
            path = z.extract(member, into)
            mode = member.external_attr >> 16 & 0o777
            if mode and not member.is_dir():
                os.chmod(path, mode | 0o600)


def _untar(archive: Path, into: Path, limit: int) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise Failure("this Python unpacks no tar archive safely; use a zip")
    with tarfile.open(archive) as t:
        _fits(sum(m.size for m in t.getmembers()), archive.name, limit)
        into.mkdir()
        t.extractall(into, filter="data")


def _watch(lane: socket.socket) -> None:
    while lane.recv(1):
        pass
    os.killpg(0, signal.SIGKILL)


def _request() -> dict[str, Any]:
    call, side = (socket.socket(fileno=int(fd)) for fd in os.environ.pop("WEFT_WORKER").split(","))
    side.close()
    call.setblocking(True)
    os.set_inheritable(call.fileno(), False)
    line = b""
    while not line.endswith(b"\n"):
        chunk = call.recv(1 << 16)
        if not chunk:
            sys.exit(1)
        line += chunk
    threading.Thread(target=_watch, args=(call,), daemon=True).start()
    request: dict[str, Any] = json.loads(line)
    return request


def main(request: Optional[dict[str, Any]] = None) -> int:
    request = request or _request()
    build = {"unpack": unpack, "wheel": wheel, "packages": packages}[request.pop("kind")]
    target = Path(request.pop("target"))
    try:
        target.mkdir()
        build(target, **request)  # type: ignore[operator]
    except (Failure, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        print(f"weft: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
