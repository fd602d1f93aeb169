"""Runs a failed task again, here and alone: ``python -m weft._replay [--pdb] TASK``, for ``weft replay``. WEFT_ADDRESS names its node."""

from __future__ import annotations

import contextlib
import json
import os
import pdb
import sys
import traceback
from typing import Any, Callable

from weft import _api, _refs, _state, _values
from weft import exceptions as ex
from weft._pb import session_pb2 as pb
from weft._worker import by_name, unpack


def main(arguments: list[str]) -> int:
    debug = "--pdb" in arguments
    tasks = [a for a in arguments if a != "--pdb"]
    if len(tasks) != 1:
        print("usage: python -m weft._replay [--pdb] TASK", file=sys.stderr)
        return 2
    _api.init()
    try:
        call, args, kwargs = fetch(tasks[0])
    except (ValueError, ex.RayError) as error:
        print(f"weft replay: {error}", file=sys.stderr)
        return 1
    try:
        value = call(*args, **kwargs)
        if hasattr(value, "__next__"):
            value = list(value)
    except BaseException as error:
        traceback.print_exc()
        if debug:
            pdb.post_mortem(error.__traceback__)
        return 1
    finally:
        _api.shutdown()
    print(f"weft replay: task {tasks[0]} returned {value!r}")
    return 0


def fetch(task: str) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """A failed task's function and arguments, in the folder and with the modules of its program."""
    failed = pb.FailedCall.FromString(_state.current().ask(pb.KIND_QUERY, pb.Query(what="replay", id=bytes.fromhex(task))).json)
    template = failed.template
    if template.language != "python":
        raise ValueError(f"{template.name} is no function of Python; `weft replay` runs it with the right program")
    with contextlib.suppress(OSError):
        os.chdir(failed.metadata.get("cwd", "."))
    sys.path[:] = json.loads(failed.metadata.get("sys_path", "null")) or sys.path
    args, kwargs = unpack(failed.args, template.portable, _argument, _list)
    return _values.decode(_values.PICKLE, failed.code) if failed.code else by_name(template.function), args, kwargs


def _argument(a: Any) -> Any:
    return _object(bytes(a.object)) if a.object else _values.decode(a.value.tag, a.value.data)


def _list(a: Any) -> list[Any]:
    return [_object(bytes(a.objects[i : i + 20])) for i in range(0, len(a.objects), 20)]


def _object(oid: bytes) -> Any:
    return _api.get(_refs._restore(oid))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
