"""Runtime environments of a session: what a task or actor asks for, over what its parent has, as the node is told it.

The node is told JSON. It has the fields of RuntimeEnv, with what only a driver knows (its folders, a function) replaced by blobs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from weft._session import Session

_BUILT = ("env_vars",)
_INSTEAD = {
    "conda": "make the environment yourself and name its interpreter in 'py_executable', or list the packages in 'pip' or 'uv'",
    "container": "start the node (`weft start`) inside the image",
    "image_uri": "start the node (`weft start`) inside the image",
    "_nsight": "name the profiler in 'py_executable', as in \"nsys profile python\"",
    "_rocprof_sys": "name the profiler in 'py_executable'",
    "java_jars": "only Python and Go programs run on Weft",
    "mpi": "start MPI from a task, with subprocess",
}


def text(session: Session, asked: Optional[Mapping[str, Any]]) -> str:
    """The environment of a task that asks for this; "" if it needs none."""
    merged = session.runtime_env if not asked else merge(session.runtime_env, describe(session, asked))
    return canonical(merged)


def canonical(env: Mapping[str, Any]) -> str:
    """The text of a described environment; equal ones have equal texts."""
    return json.dumps(env, sort_keys=True, separators=(",", ":")) if env else ""


def describe(session: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
    """An environment as the node is told it."""
    from weft.runtime_env import RuntimeEnv

    env = asked if isinstance(asked, RuntimeEnv) else RuntimeEnv(**asked)
    for name in env:
        if name in _INSTEAD:
            raise NotImplementedError(f"runtime_env[{name.lstrip('_')!r}] is not there: {_INSTEAD[name]}")
        if name not in _BUILT:
            raise NotImplementedError(f"runtime_env[{name!r}] is not there; there are {', '.join(_BUILT)}")
    return {name: env[name] for name in _BUILT if name in env}


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The child's fields over the parent's, variable by variable in env_vars."""
    merged = {**parent, **child}
    if "env_vars" in parent and "env_vars" in child:
        merged["env_vars"] = {**parent["env_vars"], **child["env_vars"]}
    return merged


def adopt(session: Session) -> None:
    """Makes a worker's process find modules and files where its driver does, and what its environment adds."""
    metadata = session.info.metadata
    session.runtime_env = json.loads(metadata.get("runtime_env", "{}"))
    for path in json.loads(metadata.get("sys_path", "[]")):
        if path not in sys.path:
            sys.path.append(path)
    try:
        os.chdir(metadata["cwd"])
    except (KeyError, OSError):
        pass
    if metadata.get("as_ray"):
        from weft import _ray

        _ray.install()
