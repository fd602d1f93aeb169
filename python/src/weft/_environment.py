"""Runtime environments of a session: what a task or actor asks for, over what its parent has, as the node is told it.

The node is told JSON. It has the fields of RuntimeEnv, with what only a driver has (its folders, a function) replaced by the
names of blobs.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from weft import _values
from weft import exceptions as ex
from weft._pb import session_pb2 as pb

if TYPE_CHECKING:
    from weft._session import Session

_BUILT = ("env_vars", "working_dir", "py_modules", "pip", "uv", "py_executable", "worker_process_setup_hook", "config", "excludes")
_INSTALLERS = ("pip", "uv")
_HOOK = "blob:"  # a hook that is a function: the hash of its code
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


def of_job(session: Session, asked: Mapping[str, Any]) -> None:
    """Makes this the environment of the session's tasks, unless they say otherwise, and has the node begin to build it."""
    session.runtime_env = describe(session, asked)
    if session.runtime_env and (asked.get("config") or {}).get("eager_install", True):
        session.send(pb.KIND_PREPARE, pb.Prepare(runtime_env=canonical(session.runtime_env)))
        session.flush()


def describe(session: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
    """An environment as the node is told it."""
    from weft.runtime_env import RuntimeEnv

    env = asked if isinstance(asked, RuntimeEnv) else RuntimeEnv(**asked)
    for name in env:
        if name in _INSTEAD:
            raise NotImplementedError(f"runtime_env[{name.lstrip('_')!r}] is not there: {_INSTEAD[name]}")
        if name not in _BUILT:
            raise NotImplementedError(f"runtime_env[{name!r}] is not there; there are {', '.join(_BUILT)}")
    return _localize(session, {name: env[name] for name in _BUILT if name in env})


def _localize(session: Session, env: dict[str, Any]) -> dict[str, Any]:
    """Uploads what is here, and drops what does not matter there."""
    from weft import _packages, _remote

    excludes = env.pop("excludes", None) or ()
    for place in [env.get("working_dir") or "", *env.get("py_modules", ())]:
        if place.partition("://")[0] in _ELSEWHERE and "://" in place:
            raise NotImplementedError(f"{place} cannot be read from there: give an http(s):// or file:// URI, or a local folder")
    if "working_dir" in env:
        env["working_dir"] = _packages.working_dir(session, env["working_dir"], excludes)
    if "py_modules" in env:
        env["py_modules"] = [_packages.py_module(session, m, excludes) for m in env["py_modules"]]
    if callable(env.get("worker_process_setup_hook")):
        env["worker_process_setup_hook"] = _HOOK + _remote.code_of(session, env["worker_process_setup_hook"]).hex()
    seconds = (env.pop("config", None) or {}).get("setup_timeout_seconds", DEFAULT_SECONDS)
    if seconds != DEFAULT_SECONDS:
        env["config"] = {"setup_timeout_seconds": seconds}
    return env


DEFAULT_SECONDS = 600  # in which an environment must be there
_ELSEWHERE = ("gcs", "s3", "gs", "azure", "abfss", "local")


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The child's fields over the parent's, variable by variable in env_vars. One that installs packages does so alone."""
    if any(name in child for name in _INSTALLERS):
        parent = {name: value for name, value in parent.items() if name not in _INSTALLERS}
    merged = {**parent, **child}
    if "env_vars" in parent and "env_vars" in child:
        merged["env_vars"] = {**parent["env_vars"], **child["env_vars"]}
    return merged


def adopt(session: Session) -> None:
    """Makes a worker's process find modules and files where its driver does, and before that what its environment adds."""
    metadata = session.info.metadata
    session.runtime_env = json.loads(metadata.get("runtime_env", "{}"))
    session.detached = "detached" in metadata
    if "logging" in metadata:
        from weft._logging import LoggingConfig

        LoggingConfig.from_dict(json.loads(metadata["logging"]))._apply()
    folder = metadata.get("working_dir")
    added = [p for p in (folder, *metadata.get("py_path", "").split(os.pathsep)) if p]
    if added:
        sys.path[:0] = added
        os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (*added, os.environ.get("PYTHONPATH")) if p)
    theirs = json.loads(metadata.get("sys_path", "[]"))
    home = (metadata.get("cwd"), theirs[0] if theirs else None)  # where the driver and its program are
    sys.path += [p for p in theirs if p not in sys.path and not (folder and p in home)]
    try:
        os.chdir(folder or metadata["cwd"])
    except (KeyError, OSError):
        pass
    if metadata.get("as_ray"):
        from weft import _ray

        _ray.install()


def set_up(session: Session) -> Optional[ex.RuntimeEnvSetupError]:
    """Runs the hook of a worker's environment, if it has one. Returns why the worker cannot be used."""
    theirs = session.info.metadata.get("python")
    if theirs and theirs.split(".")[:2] != platform.python_version().split(".")[:2] and "py_executable" not in session.runtime_env:
        return ex.RuntimeEnvSetupError(
            f"the program runs in Python {theirs} and its workers in {platform.python_version()} ({sys.executable}): what one pickles the other "
            "cannot always read; have `weft start` see WEFT_PYTHON with the path of an interpreter of the program's version"
        )
    hook = session.runtime_env.get("worker_process_setup_hook")
    if hook is None:
        return None
    try:
        _hook(session, hook)()
    except Exception:
        return ex.RuntimeEnvSetupError(f"Failed to execute the setup hook method {hook}:\n{traceback.format_exc()}")
    return None


def _hook(session: Session, hook: str) -> Any:
    if hook.startswith(_HOOK):
        code = session.ask(pb.KIND_FETCH, pb.Fetch(hash=bytes.fromhex(hook[len(_HOOK) :]))).data
        return _values.decode(_values.PICKLE, code)
    module, _, name = hook.rpartition(".")
    if not module:
        raise ValueError(f"{hook!r} is no name of a function; it must be like 'module.function'")
    return getattr(importlib.import_module(module), name)
