"""Go's functions and actors, called from Python.

They run in processes of the Go program that ``init(go_program=…)`` names, which registers them by name (weft.Task1, weft.Actor1).
Arguments and results are what _portable encodes.
"""

from __future__ import annotations

from typing import Any, Optional

from weft import _environment, _frames, _options, _portable, _state, _values
from weft._pb import session_pb2 as pb
from weft._refs import ObjectRef, ObjectRefGenerator
from weft._remote import CREATE, TASK, ActorHandle, ActorMethod, HandleInfo, describe_actor, new_handle, prefix, returned
from weft._session import Session


def portable(value: Any) -> Any:
    """Wraps a value that a task returns or that is put, so that programs of every language can read it.

    Without it such a value is pickled, which only Python reads. In Python the reader gets ``value``.
    """
    return _values.Portable(value)


def go_function(name: str, /, **options: Any) -> GoFunction:
    """A function that the Go program registers under ``name``. ``f.remote(…)`` runs it as a task.

    Options are those of tasks, and ``isolated=True`` for a process of its own.
    """
    return GoFunction(name, options)


def go_actor(name: str, /, **options: Any) -> GoActorClass:
    """A class of actors that the Go program registers under ``name``. ``C.remote(…)`` starts one and returns its handle."""
    return GoActorClass(name, options)


def pack(session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Any]:
    """The arguments as a Submit has them, one by one. Also returns what must live until the message is queued."""
    if kwargs:
        raise TypeError(f"Go has no keyword arguments: {', '.join(kwargs)}")
    packed, refs = b"", []
    for a in args:
        if not isinstance(a, ObjectRef):
            encoded = _portable.encode(a)
            if encoded.size <= session.inline_limit:
                packed += _frames.value_arg(_frames.value(encoded.tag, encoded.data(), encoded.refs))
                continue
            a = ObjectRef(session.put_encoded(encoded), session)
        refs.append(a)
        packed += _frames.object_arg(a._entry.id)
    return packed, refs


def _check(kind: str, options: dict[str, Any]) -> None:
    options = dict(options)
    if not isinstance(options.pop("isolated", False), bool):
        raise TypeError("isolated is True or False")
    _options.check(kind, options)


class GoFunction:
    """What go_function returns."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        _check("task", options)
        self._name = name
        self._options = options
        self._bound: Optional[tuple[Session, int, int, bool]] = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"Remote functions cannot be called directly. Instead of running '{self._name}()', try '.remote()'.")

    def __reduce__(self) -> Any:
        return GoFunction, (self._name, self._options)

    def options(self, **options: Any) -> GoFunction:
        return GoFunction(self._name, {**self._options, **options})

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        session = _state.current()
        if self._bound is None or self._bound[0] is not session:
            self._bound = self._bind(session)
        _, number, returns, streams = self._bound
        packed, _keep = pack(session, args, kwargs)
        tid, entries = session.submit(prefix(number, not streams), packed, returns)
        if streams:
            return ObjectRefGenerator(session, tid)
        return returned(session, tid, entries)

    def _bind(self, session: Session) -> tuple[Session, int, int, bool]:
        options = self._options
        returns = options.get("num_returns") or 1
        streams = returns in ("streaming", "dynamic")
        retries = options.get("max_retries")
        t = _options.template(
            "task", options, kind=TASK, language="go", isolated=options.get("isolated", False), function=self._name,
            name=options.get("name") or self._name, returns=0 if streams else returns, stream=streams,
            max_retries=3 if retries is None else retries, retry_errors=bool(options.get("retry_exceptions")),
            runtime_env=_environment.text(session, options.get("runtime_env")),
        )  # fmt: skip
        return session, session.template(t), 0 if streams else int(returns), streams


class GoActorClass:
    """What go_actor returns."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        _check("actor", options)
        self._name = name
        self._options = options

    def __reduce__(self) -> Any:
        return GoActorClass, (self._name, self._options)

    def options(self, **options: Any) -> GoActorClass:
        return GoActorClass(self._name, {**self._options, **options})

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        session, options = _state.current(), self._options
        t = _options.template(
            "actor", options, kind=CREATE, language="go", isolated=options.get("isolated", False), function=self._name, name=self._name, returns=1,
            runtime_env=_environment.text(session, options.get("runtime_env")),
        )  # fmt: skip
        describe_actor(session, t.actor, options, self._name, options.get("max_concurrency") or 1)
        packed, _keep = pack(session, args, kwargs)
        return new_handle(session, t, packed, self.handle)

    def handle(self, session: Session, actor: bytes, _meta: bytes) -> ActorHandle:
        return GoActorHandle(session, actor, HandleInfo(self._name, {}, self._options.get("max_task_retries") or 0), 1)


class GoActorHandle(ActorHandle):
    """A handle of a Go actor: ``handle.Method.remote(…)`` calls the method that is registered under that name."""

    def __getattr__(self, name: str) -> ActorMethod:
        if name.startswith("_"):
            raise AttributeError(f"a Go actor has no method {name!r}")
        made = self.__dict__[name] = GoActorMethod(self, name, {})
        return made

    def __reduce__(self) -> Any:
        self._ray_session.share_handle(self._ray_actor)
        return _restore, (self._ray_actor, self._ray_info.class_name, self._ray_info.retries)


def _restore(actor: bytes, class_name: str, retries: int) -> GoActorHandle:
    return GoActorHandle(_state.current(), actor, HandleInfo(class_name, {}, retries), 0)


class GoActorMethod(ActorMethod):
    """A method of a Go actor."""

    __slots__ = ()

    def _pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Any]:
        return pack(self._session, args, kwargs)

    def _template(self, **fields: Any) -> Any:
        return pb.Template(language="go", function=f"{self._info.class_name}.{self._name}", **fields)


def found_handle(session: Session, found: Any) -> ActorHandle:
    """The handle of an actor that was found by its name, and that the node has counted."""
    if found.language in ("", "go"):
        return GoActorHandle(session, bytes(found.actor), HandleInfo(getattr(found, "class"), {}, 0), 1)
    return ActorHandle(session, bytes(found.actor), _info(found), 1)


def _info(found: Any) -> HandleInfo:
    if found.meta:
        return HandleInfo.loads(found.meta)
    return HandleInfo(getattr(found, "class"), _AnyMethod(), 0)


class _AnyMethod(dict[str, Any]):
    """The methods of a class that a Go program named: nobody has looked which it has."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and not name.startswith("_")

    def __missing__(self, _name: str) -> dict[str, Any]:
        return {}


class UnknownHandle(ActorHandle):
    """A handle that came inside a value from Go. Its class and language are asked for when it is used."""

    @classmethod
    def of(cls, actor: bytes) -> UnknownHandle:
        return cls(_state.current(), actor, HandleInfo("actor", {}, 0), 0)

    def __getattr__(self, name: str) -> ActorMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        self._learn()
        return getattr(self, name)  # type: ignore[no-any-return]

    def __reduce__(self) -> Any:
        self._learn()
        return self.__reduce__()

    def _learn(self) -> None:
        found = self._ray_session.ask(pb.KIND_LOOKUP, pb.Lookup(actor=self._ray_actor))
        if found.language in ("", "go"):
            self._ray_info = HandleInfo(getattr(found, "class"), {}, 0)
            self.__class__ = GoActorHandle  # type: ignore[assignment]
        else:
            self._ray_info = _info(found)
            self.__class__ = ActorHandle  # type: ignore[assignment]
