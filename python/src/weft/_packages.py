"""Folders as packages: what a driver sends of its own files to where its tasks run."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional

from weft._session import Session

MAX_BYTES = 512 << 20
_PART = 16 << 20  # bytes of one blob
_ALWAYS = ".git,.venv,venv,__pycache__"  # never in a working_dir, unless the variable says otherwise
_ALWAYS_VARIABLE = "RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES"
_NO_GITIGNORE = "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"


def working_dir(session: Session, place: str, excludes: Sequence[str]) -> str:
    """The URI of a working directory, which is uploaded if it is a folder or an archive here."""
    path = _here(place)
    if path is None:
        return place
    if path.is_file():
        return upload(session, path.read_bytes(), path.name)
    always = [p.strip() for p in os.environ.get(_ALWAYS_VARIABLE, _ALWAYS).split(",") if p.strip()]
    return upload(session, pack(path, "", [*always, *excludes]), path.name + ".zip")


def py_module(session: Session, place: str, excludes: Sequence[str]) -> str:
    """The URI of a module or wheel, which is uploaded if it is here."""
    path = _here(place)
    if path is None:
        return place
    if path.is_dir():
        return upload(session, pack(path, path.name + "/", excludes), path.name + ".zip")
    if path.suffix == ".py":
        return upload(session, pack(path, "", ()), path.name + ".zip")
    return upload(session, path.read_bytes(), path.name)


def _here(place: str) -> Optional[Path]:
    return None if "://" in place else Path(place).expanduser().absolute()


def upload(session: Session, data: bytes, name: str) -> str:
    """Has the node keep a package, and returns its URI: the hash of the list of its parts' hashes, and its name."""
    digests = b""
    for start in range(0, len(data), _PART):
        part = data[start : start + _PART]
        digest = hashlib.sha256(part).digest()
        session.blob(digest, part, b"")
        digests += digest
    whole = hashlib.sha256(digests).digest()
    session.blob(whole, digests, b"")
    return f"weft://{whole.hex()}/{re.sub(r'[^A-Za-z0-9_.+-]', '_', name)}"


def pack(path: Path, prefix: str, excludes: Sequence[str]) -> bytes:
    """A zip of a file, or of a folder but for what is excluded; the same for the same files. Raises ValueError if it is too large."""
    out = io.BytesIO()
    sizes: list[tuple[int, str]] = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        for file, name in [(path, path.name)] if path.is_file() else files(path, excludes):
            status = file.stat()
            member = zipfile.ZipInfo(prefix + name, (1980, 1, 1, 0, 0, 0))
            member.external_attr = (stat.S_IMODE(status.st_mode) | (stat.S_IFDIR if name.endswith("/") else stat.S_IFREG)) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            data = b"" if name.endswith("/") else file.read_bytes()
            z.writestr(member, data)
            sizes.append((len(data), name))
            if out.tell() > MAX_BYTES:
                raise ValueError(_too_large(path, sizes, files(path, excludes)))
    return out.getvalue()


def _too_large(path: Path, sizes: list[tuple[int, str]], everything: Iterator[tuple[Path, str]]) -> str:
    sizes = sizes + [(f.stat().st_size, name) for f, name in everything if f.is_file()]
    largest = sorted(set(sizes), reverse=True)[:5]
    named = ", ".join(f"{name} ({size / (1 << 20):.1f} MiB)" for size, name in largest)
    return (
        f"Package size of {path} exceeds the maximum size of {MAX_BYTES / (1 << 20):.2f} MiB. Its largest files: {named}. To leave files out, "
        "add them to '.gitignore' or '.rayignore', or to 'excludes' in the runtime_env; or give the URI of an archive."
    )


def files(root: Path, excludes: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """The files and empty folders (with a slash) of root, by name, that neither excludes nor an ignore file of their folders names."""
    return _walk(root, "", [_matcher("", excludes)], [root.resolve()])


_Matcher = Callable[[str, bool], bool]


def _walk(folder: Path, at: str, rules: list[_Matcher], above: list[Path]) -> Iterator[tuple[Path, str]]:
    rules = rules + [_matcher(at, (folder / n).read_text().splitlines()) for n in _ignore_files() if (folder / n).is_file()]
    children = sorted(folder.iterdir())
    if not children and at:
        yield folder, at
    for child in children:
        name, is_dir = at + child.name, child.is_dir()
        if any(rule(name, is_dir) for rule in rules):
            continue
        if not is_dir:
            if child.is_file():  # no socket, pipe or dangling link
                yield child, name
        elif child.resolve() not in above:  # a link to where it is
            yield from _walk(child, name + "/", rules, [*above, child.resolve()])


def _ignore_files() -> list[str]:
    return [".rayignore"] if os.environ.get(_NO_GITIGNORE) == "1" else [".gitignore", ".rayignore"]


def _matcher(at: str, lines: Sequence[str]) -> _Matcher:
    """Whether patterns, as git has them in a file of folder ``at``, name a path. The last one that fits says."""
    patterns = [p for p in map(_pattern, lines) if p is not None]

    def matches(name: str, is_dir: bool) -> bool:
        for regex, wanted, folders in reversed(patterns):
            if (is_dir or not folders) and regex.fullmatch(name, len(at)):
                return wanted
        return False

    return matches


def _pattern(line: str) -> Optional[tuple[re.Pattern[str], bool, bool]]:
    """A line's expression, whether it excludes (or takes back), and whether it means folders alone."""
    line = re.sub(r"(?<!\\) +$", "", line.rstrip("\n"))
    if not line or line.startswith("#"):
        return None
    wanted = not line.startswith("!")
    line = line if wanted else line[1:]
    folders = line.endswith("/")
    line = line.rstrip("/")
    anchored = "/" in line
    out = "" if anchored else "(?:.*/)?"
    for token in re.findall(r"\*\*/|/\*\*$|\*+|\?|\[[!^]?\]?[^\]]*\]|\\.|.", line.lstrip("/")):
        out += _TOKENS.get(token) or _token(token)
    try:
        return re.compile(out), wanted, folders
    except re.error:
        return None


_TOKENS = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "**": "[^/]*", "?": "[^/]"}


def _token(token: str) -> str:
    if token.startswith("[") and len(token) > 1:
        inner = token[1:-1].replace("\\", "\\\\")
        return "[^" + inner[1:] + "]" if inner[0] in "!^" else "[" + inner + "]"
    return re.escape(token[1:] if token.startswith("\\") and len(token) > 1 else token)
