"""The program ``weft`` of this Python: where it is, and the command that becomes it.

It is a module of its own, beside the package, because importing that takes longer than most commands do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PACKED = _HERE / "weft" / "_bin" / "weft"
_BUILT = _HERE.parents[1] / "bin" / "weft"


def find() -> str:
    """The path of the program: WEFT_BINARY if that is set, else what the wheel brought, or the repository's, or one in PATH."""
    given = os.environ.get("WEFT_BINARY")
    if given:
        if not os.access(given, os.X_OK):
            raise FileNotFoundError(f"WEFT_BINARY is {given}, which is no program that can be run")
        return given
    tried = []
    for path, what in _candidates():
        if _runs(path):
            return str(path)
        tried.append(f"{path} ({what})")
    raise FileNotFoundError(
        f"there is no program weft; looked for {', '.join(tried)} and in PATH. "
        "`pip install` a wheel that has it, or `make build` in the repository, or name one in WEFT_BINARY"
    )


def _candidates() -> Iterator[tuple[Path, str]]:
    yield _PACKED, "from the wheel"
    yield _BUILT, "from `make build`"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(folder or ".", "weft")
        if _runs(path):
            yield path, "in PATH"


def _runs(path: Path) -> bool:
    """Whether path is a compiled program: the command ``weft`` that pip makes is not."""
    try:
        with open(path, "rb") as f:
            return f.read(4) == b"\x7fELF" and os.access(path, os.X_OK)
    except OSError:
        return False


def main() -> int:
    """Becomes the program, which runs Python programs with this interpreter."""
    try:
        path = find()
    except FileNotFoundError as error:
        print(f"weft: {error}", file=sys.stderr)
        return 1
    os.environ.setdefault("WEFT_PYTHON", sys.executable)
    os.execv(path, ["weft", *sys.argv[1:]])
    return 0
