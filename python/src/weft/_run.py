"""Runs a program: ``python -m weft._run [--ray] program.py …``, for ``weft run``. With --ray its ``import ray`` is Weft."""

from __future__ import annotations

import os
import runpy
import sys


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--ray"]:
        from weft import _ray

        _ray.install()
        arguments = arguments[1:]
    if not arguments:
        print("usage: python -m weft._run [--ray] PROGRAM.py [ARGUMENT…]", file=sys.stderr)
        return 2
    sys.argv = arguments
    sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
