"""init, get, put, wait and their like: the functions of the package weft."""

from __future__ import annotations

import atexit
import copy
import inspect
import json
import operator
import os
import platform
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, Union, overload

from weft import _address, _cross, _devices, _environment, _logging, _state
from weft import exceptions as ex
from weft._logging import LoggingConfig
from weft._pb import session_pb2 as pb
from weft._refs import ObjectRef, ObjectRefGenerator, is_there
from weft._remote import ActorClass, ActorHandle, RemoteFunction
from weft._session import HERE, Session, shield
from weft.job_config import JobConfig

RAY = "2.60.0"
"""The version of Ray whose API this is: programs look."""

if TYPE_CHECKING:
    from weft._node import Node
    from weft._outside import Proxy

_node_here: Union[Node, Proxy, None] = None
_starting = threading.RLock()


class Context(dict[str, Any]):
    """What init returns: a mapping of the address, and a context that ends with shutdown()."""

    dashboard_url = ""
    python_version = platform.python_version()
    ray_version = RAY
    ray_commit = "weft"

    @property
    def address_info(self) -> dict[str, Any]:
        return dict(self)

    def disconnect(self) -> None:
        shutdown()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        shutdown()


def init(
    address: Optional[str] = None, *, num_cpus: Optional[float] = None, num_gpus: Optional[float] = None,
    resources: Optional[dict[str, float]] = None, labels: Optional[dict[str, str]] = None, object_store_memory: Optional[int] = None,
    namespace: Optional[str] = None, ignore_reinit_error: bool = False, log_to_driver: bool = True,
    runtime_env: Optional[Mapping[str, Any]] = None, go_program: Optional[str] = None, job_config: Optional[JobConfig] = None,
    logging_config: Union[LoggingConfig, dict[str, Any], None] = None, **others: Any,
) -> Context:  # fmt: skip
    """Joins a node, or starts one that ends with this process.

    ``address`` is a node's socket or folder, or "auto": the node that ``weft start`` has started here; or ``weft://HOST:PORT`` (or
    ``ray://``) of a cluster that this machine is no node of, with the token in WEFT_TOKEN or before HOST and an @. None is WEFT_ADDRESS or
    RAY_ADDRESS, without these that node, and without one, or if it says what that has, a new node with ``num_cpus`` CPUs (default: what
    this machine has), ``num_gpus`` GPUs, custom ``resources``, ``labels`` and ``object_store_memory`` bytes of shared memory.
    ``namespace`` is that of named actors; by default the program's own. ``runtime_env`` is what tasks and actors need, unless they say
    otherwise. With ``log_to_driver`` what workers print is printed here. ``go_program`` is the path of the program whose functions and
    actors go_function and go_actor call; its main begins with weft.Init. ``job_config`` has some of these as one object, and
    ``logging_config`` is what logging prints, here and in workers.
    Raises RuntimeError if init was called already, unless ``ignore_reinit_error``, and ConnectionError if nothing listens there.
    """
    with _starting:
        if _state.session is not None and _state.session.pid == os.getpid():
            if ignore_reinit_error or _state.session.worker is not None:
                return _context(_state.session)
            raise RuntimeError("Maybe you called weft.init twice by accident? Call shutdown() first, or pass ignore_reinit_error=True.")
        if others.pop("allow_multiple", False):
            raise ValueError("allow_multiple: a program has one session; use a process for each cluster")
        unknown = [k for k in others if k not in _IGNORED and not k.startswith("_")]
        if unknown:
            raise RuntimeError(f"Unknown keyword argument(s): {', '.join(unknown)}")
        given = {"num_cpus": num_cpus, "num_gpus": num_gpus, "resources": resources, "object_store_memory": object_store_memory}
        address = _address.find(address, any(v is not None for v in given.values()))
        if address is None:
            address = _start_node(_flags(num_cpus, num_gpus, resources, labels, object_store_memory))
        elif any(v is not None for v in given.values()):
            raise ValueError(f"When connecting to an existing node, {', '.join(k for k, v in given.items() if v is not None)} must not be provided.")
        try:
            config = _job_config(job_config, namespace, runtime_env, logging_config)
            session = _state.session = _join(address, config, _programs(go_program))
            _environment.of_job(session, config.runtime_env)
        except BaseException:
            shutdown()
            _end_node()
            raise
        _state.session.on_log = _print_log if log_to_driver else lambda m: None
        shield.install()
        return _context(_state.session)


_IGNORED = {
    "include_dashboard", "dashboard_host", "dashboard_port", "configure_logging", "logging_level", "logging_format", "local_mode",
    "proxy_server_url", "enable_resource_isolation", "cgroup_path", "system_reserved_cpu", "system_reserved_memory",
    "object_spilling_directory",
}  # fmt: skip


def _job_config(given: Optional[JobConfig], namespace: Optional[str], env: Optional[Mapping[str, Any]], logging: Any) -> JobConfig:
    """What init was given, as one object; arguments of its own go before."""
    config = copy.copy(given) if given is not None else JobConfig()
    if env is not None and config.runtime_env:
        raise ValueError("both runtime_env and job_config.runtime_env are given; give one")
    config.ray_namespace = namespace or config.ray_namespace
    config.runtime_env = env or config.runtime_env
    config.py_logging_config = _logging.of(logging) or config.py_logging_config
    return config


def _context(session: Session) -> Context:
    return Context(
        address=session.address, gcs_address=session.address, node_id=bytes(session.info.node).hex(), node_ip_address=session.info.ip,
        session_dir="" if "://" in session.address else os.path.dirname(session.address), webui_url="",
    )  # fmt: skip


def _flags(cpus: Any, gpus: Any, resources: Any, labels: Any, store: Any) -> list[str]:
    flags = []
    for name, value in (("num_cpus", cpus), ("num_gpus", gpus)):
        if value is not None and value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    if cpus is not None:
        flags.append(f"--cpus={cpus}") if cpus else flags.append("--resources=CPU=0")
    if gpus:
        flags.append(f"--resources=GPU={gpus}")
    flags += [f"--resources={k}={v}" for k, v in (resources or {}).items()]
    flags += [f"--labels={k}={v}" for k, v in (labels or {}).items()]
    if store:
        flags.append(f"--store-bytes={int(store)}")
    return flags


def _programs(go: Optional[str]) -> dict[str, str]:
    """What workers of other languages run."""
    if go is None:
        return {}
    if not os.access(go, os.X_OK) or os.path.isdir(go):
        raise ValueError(f"go_program: {go!r} is no program that can be executed; `go build -o {go} PACKAGE` makes one")
    return {"go": os.path.abspath(go)}


def _start_node(flags: list[str]) -> str:
    global _node_here
    from weft._node import Node

    _node_here = Node(flags)
    return _node_here.address


def _lanes(address: str) -> tuple[socket.socket, Optional[socket.socket], str]:
    """The sockets of a new session, the second if it is there already, and the address as others may see it."""
    global _node_here
    if address.startswith(("weft://", "ray://")):
        from weft._outside import Proxy

        _node_here = proxy = Proxy(address)
        return proxy.call, proxy.side, proxy.address
    call = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        call.connect(address)
    except OSError as error:
        call.close()
        raise ConnectionError(f"no node at {address}: {error}; `weft start` starts one and prints its address") from None
    return call, None, address


def _join(address: str, config: JobConfig, programs: dict[str, str]) -> Session:
    call, side, shown = _lanes(address)
    metadata = {
        "cwd": os.getcwd(),
        "python": platform.python_version(),
        "sys_path": json.dumps([*(p or os.getcwd() for p in sys.path), *config.code_search_path]),
    }
    if config.py_logging_config is not None:
        config.py_logging_config._apply()
        metadata["logging"] = json.dumps(config.py_logging_config.to_dict())
    if config.default_actor_lifetime == "detached":
        metadata["detached"] = "1"
    if os.environ.get("WEFT_AS_RAY"):
        metadata["as_ray"] = "1"
    hello = pb.Hello(
        version=1, role="driver", language="python", pid=os.getpid(), name=os.path.basename(sys.argv[0]) or "python",
        namespace=config.ray_namespace or "",
        entrypoint=sys.executable, metadata=metadata, programs=programs,
    )  # fmt: skip
    session = Session(call, side, hello, shown)
    session.detached = config.default_actor_lifetime == "detached"
    return session


def _print_log(m: Any) -> None:
    line = m.text.decode(errors="replace").rstrip("\n")
    name = f"{m.name} " if m.name else ""
    out = sys.stderr if m.stderr else sys.stdout
    who = f"({name}pid={m.pid})"
    # One write, so that what the program itself prints cannot come before the end of the line.
    out.write(f"\x1b[36m{who}\x1b[0m {line}\n" if out.isatty() else f"{who} {line}\n")


@atexit.register
def shutdown(wait_for_processes: bool = False) -> None:
    """Ends the session, and the node if init started it. Nothing happens if there is none."""
    with _starting:
        session, _state.session = _state.session, None
        if session is None or session.pid != os.getpid():
            return
        session.close()
        session.join()
        _end_node()


def _end_node() -> None:
    global _node_here
    node, _node_here = _node_here, None
    if node is not None:
        node.close()


def _forked() -> None:
    global _node_here
    node, _node_here = _node_here, None
    if node is not None:
        node.leave_to_parent()


os.register_at_fork(after_in_child=_forked)


def is_initialized() -> bool:
    """Whether this process has a session."""
    return _state.session is not None and _state.session.error is None


def remote(*args: Any, **options: Any) -> Any:
    """Makes a function a RemoteFunction or a class an ActorClass; as a decorator, bare or with options."""
    if len(args) == 1 and not options and callable(args[0]):
        return _remote(args[0], {})
    if args or not options:
        raise TypeError("@remote takes options by keyword, or a function or class alone")
    return lambda thing: _remote(thing, options)


def _remote(thing: Any, options: dict[str, Any]) -> Any:
    if inspect.isclass(thing):
        return ActorClass(thing, options)
    if inspect.isfunction(thing) or type(thing).__name__ == "cython_function_or_method":
        return RemoteFunction(thing, options)
    raise TypeError("The @remote decorator must be applied to either a function or a class.")


@overload
def get(refs: ObjectRef[Any], *, timeout: Optional[float] = None) -> Any: ...
@overload
def get(refs: Sequence[ObjectRef[Any]], *, timeout: Optional[float] = None) -> list[Any]: ...
def get(refs: Any, *, timeout: Optional[float] = None) -> Any:
    """The value of a reference, or a list of the values of a list of them.

    Raises what a task raised, as a class that is also RayTaskError; GetTimeoutError after ``timeout`` seconds. Of several it
    raises as soon as one of them has failed.
    """
    session = _state.current()
    if isinstance(refs, ObjectRefGenerator):
        return refs
    if isinstance(refs, ObjectRef):
        refs._check(session)
        entry = refs._entry
        if entry.state != HERE:
            _wait_for(session, [entry], timeout)
        return session.result(entry)
    if not isinstance(refs, list):
        raise ValueError(f"Invalid type of object refs, {type(refs)}, is given. 'refs' must either be a single ObjectRef or a list of ObjectRefs.")
    entries = []
    for ref in refs:
        if not isinstance(ref, ObjectRef):
            raise TypeError(f"Attempting to call `get` on the value {ref!r}, which is not an ObjectRef.")
        ref._check(session)
        entries.append(ref._entry)
    if not _failed(session, entries) and (waiting := [e for e in entries if e.state != HERE]):
        _wait_for(session, waiting, timeout)
    if failed := _failed(session, entries):
        session.result(failed)
    return [session.result(e) for e in entries]


def _failed(session: Session, entries: list[Any]) -> Any:
    """The first that has an error, or None."""
    return next((e for e in entries if e.error is not None), None) if session.failures else None


def _wait_for(session: Session, entries: list[Any], timeout: Optional[float]) -> None:
    """Returns when all are there, or one with an error is. Raises GetTimeoutError."""
    session.want(entries)
    left = iter(entries)
    waits = [next(left, None)]
    failures, failed = -1, False

    def done() -> bool:
        nonlocal failures, failed
        if session.failures != failures:
            failures, failed = session.failures, _failed(session, entries) is not None
        if failed:
            return True
        while waits[0] is not None and waits[0].state == HERE:
            waits[0] = next(left, None)
        return waits[0] is None

    with session.blocked(entries):
        if not session.wait_until(done, timeout):
            missing = sum(e.state != HERE for e in entries)
            raise ex.GetTimeoutError(
                f"Get timed out: {missing} of {len(entries)} objects were not there after {timeout} s. `weft why ID` says what one waits for."
            )


def put(value: Any) -> ObjectRef[Any]:
    """Stores a value and returns a reference to it."""
    if isinstance(value, ObjectRef):
        raise TypeError("Calling 'put' on an ObjectRef is not allowed. If you really want that, put it inside a list.")
    session = _state.current()
    return ObjectRef(session.put(value), session)


Waitable = Union[ObjectRef[Any], ObjectRefGenerator]


def wait(refs: Sequence[Waitable], *, num_returns: int = 1, timeout: Optional[float] = None, fetch_local: bool = True) -> tuple[list[Any], list[Any]]:
    """Waits until ``num_returns`` of the references, in either outcome, are there, or ``timeout`` seconds have passed.

    Returns those that are (at most num_returns), and the others, both in their order. A generator is there when its next reference,
    or its end, is.
    """
    _check_wait(refs, num_returns, timeout)
    if not refs:
        return [], []
    session = _state.current()
    for ref in refs:
        if isinstance(ref, ObjectRef):
            ref._check(session)
    if not _enough(refs, num_returns):
        entries = [r._entry for r in refs if isinstance(r, ObjectRef)]
        session.watch(entries)
        with session.blocked(entries):
            session.wait_until(lambda: _enough(refs, num_returns), timeout)
    ready: list[Any] = []
    rest: list[Any] = []
    for i, ref in enumerate(refs):
        if len(ready) == num_returns:
            rest += refs[i:]
            break
        (ready if is_there(ref) else rest).append(ref)
    return ready, rest


def _check_wait(refs: Any, num_returns: int, timeout: Optional[float]) -> None:
    if isinstance(refs, (ObjectRef, ObjectRefGenerator)):
        raise TypeError("wait() expected a list of ObjectRefs or ObjectRefGenerators, got a single one")
    if not isinstance(refs, list):
        raise TypeError(f"wait() expected a list of ObjectRefs or ObjectRefGenerators, got {type(refs)}")
    if timeout is not None and timeout < 0:
        raise ValueError(f"The 'timeout' argument must be nonnegative. Received {timeout}")
    kinds = set(map(type, refs))
    if not all(issubclass(kind, (ObjectRef, ObjectRefGenerator)) for kind in kinds):
        raise TypeError("wait() expected a list of ObjectRefs or ObjectRefGenerators")
    whats = map(_entry, refs) if kinds == {ObjectRef} else (r._entry if isinstance(r, ObjectRef) else r for r in refs)
    if len(set(whats)) != len(refs):
        raise ValueError("Wait requires a list of unique object refs.")
    if num_returns <= 0:
        raise ValueError(f"Invalid number of objects to return {num_returns}.")
    if num_returns > len(refs) > 0:
        raise ValueError("num_returns cannot be greater than the number of objects provided to wait.")


_entry = operator.attrgetter("_entry")


def _enough(refs: Sequence[Waitable], n: int) -> bool:
    for r in refs:
        if is_there(r):
            n -= 1
            if n == 0:
                return True
    return False


def cancel(ref: Union[ObjectRef[Any], ObjectRefGenerator], *, force: bool = False, recursive: bool = True) -> None:
    """Cancels a task, and what it has submitted if ``recursive``.

    One that waits does not run; one that runs is interrupted, and with ``force`` its process is killed.
    """
    if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"cancel() only supported for object refs. For actors, try weft.kill. Got: {type(ref)}.")
    if force and isinstance(ref, ObjectRef) and ref._entry.method:
        raise ValueError("force=True is not supported for calls of actors: weft.kill() ends an actor.")
    session = _state.current()
    session.send(pb.KIND_CANCEL, pb.Cancel(task=ref.task_id().binary(), force=force, recursive=recursive))
    session.flush()


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """Ends an actor at once; its running and waiting calls fail."""
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"weft.kill() only supported for actors. For tasks, try weft.cancel(). Got: {type(actor)}.")
    session = _state.current()
    session.send(pb.KIND_KILL, pb.Kill(actor=actor._ray_actor, no_restart=no_restart))
    session.flush()


def get_actor(name: str, namespace: Optional[str] = None) -> ActorHandle:
    """A handle of the living actor of that name. Raises ValueError if there is none."""
    if not name:
        raise ValueError("Please supply a non-empty value to get_actor")
    session = _state.current()
    return _cross.found_handle(session, session.ask(pb.KIND_LOOKUP, pb.Lookup(namespace=namespace or "", name=name)))


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of the living named actors of this namespace; of all, with all_namespaces, as dicts of name and namespace."""
    found = json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what="named")).json)
    if all_namespaces:
        return [{"name": row["name"], "namespace": row["namespace"]} for row in found]
    namespace = _state.current().info.namespace
    return [row["name"] for row in found if row["namespace"] == namespace]


def _resources() -> Any:
    return json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what="resources")).json)


def cluster_resources() -> dict[str, float]:
    """What there is in all, by resource."""
    return {k: float(v) for k, v in _resources()["total"].items()}


def available_resources() -> dict[str, float]:
    """What is free now, by resource; those without any are left out."""
    return {k: float(v) for k, v in _resources()["free"].items() if v > 0}


def timeline(filename: Optional[str] = None) -> Optional[list[dict[str, Any]]]:
    """What the node's tasks did when, as events of Chrome's trace format; with a file's name they are written there.

    Raises RuntimeError if init was not called.
    """
    if not is_initialized():
        raise RuntimeError("weft.init has not been called: there is no timeline")
    events = json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what="timeline")).json)["traceEvents"]
    if filename is None:
        return list(events)
    with open(filename, "w") as f:
        json.dump(events, f)
    return None


_NO_PORTS = (
    "NodeManagerPort", "ObjectManagerPort", "MetricsExportPort", "RuntimeEnvAgentPort", "MetricsAgentPort", "DashboardAgentListenPort",
)  # fmt: skip
"""Ports of Ray's own processes, of which there are none here."""


def nodes() -> list[dict[str, Any]]:
    """A row for each node."""
    query = json.dumps({"Limit": 10_000}).encode()
    rows = json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what="nodes", id=query)).json)["rows"]
    return [{
        "NodeID": row["id"], "Alive": row["state"] != "DEAD", "NodeManagerAddress": row.get("ip") or "127.0.0.1", "NodeManagerHostname": row["host"],
        "Resources": {k: float(v) for k, v in row["total"].items()}, "Labels": {"ray.io/node-id": row["id"], **(row.get("labels") or {})},
        "alive": row["state"] != "DEAD", "NodeName": row["host"], "ObjectStoreSocketName": row.get("address", ""),
        "RayletSocketName": row.get("address", ""), "DeathReason": 0, "DeathReasonMessage": "", **dict.fromkeys(_NO_PORTS, 0),
    } for row in rows]  # fmt: skip


def get_gpu_ids() -> Union[list[int], list[str]]:
    """The GPUs that the task or actor has, by their numbers at the node; by their ids, if CUDA_VISIBLE_DEVICES names some to the node."""
    return _devices.gpu_ids()


def exit_actor() -> None:
    """Ends the actor that calls this, after this call; calls that wait fail."""
    from weft._worker import ActorExit

    job = _state.running.get()
    if job is None or not job.actor:
        raise TypeError("exit_actor called outside of an actor")
    raise ActorExit
