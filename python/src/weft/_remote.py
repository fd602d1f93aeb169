"""Remote functions, actor classes and handles of actors."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from typing import Any, Callable, Optional

import cloudpickle

from weft import _environment, _frames, _options, _state, _values
from weft import exceptions as ex
from weft._ids import ActorID
from weft._pb import session_pb2 as pb
from weft._refs import LocalRef, ObjectRef, ObjectRefGenerator
from weft._session import Session

TASK, CREATE, METHOD = range(3)

READY, CALL, TERMINATE = "__ray_ready__", "__ray_call__", "__ray_terminate__"


class Slot:
    """The place of an argument whose value another task makes."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> Any:
        return Slot, (self.index,)


def pack(session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Any]:
    """The arguments as a Submit has them: one pickle of all, with a Slot for each reference, then those objects.

    Also returns what must live until the message is queued.
    """
    if not args and not kwargs:
        return b"", None
    refs: list[Any] = []

    def slot(value: Any) -> Any:
        if isinstance(value, ObjectRef):
            if type(value) is LocalRef:
                value.__reduce__()  # raises
            value._check(session)
            refs.append(value)
            return Slot(len(refs))
        if isinstance(value, ObjectRefGenerator):
            raise TypeError("an ObjectRefGenerator cannot be an argument; iterate over it and pass the references")
        return value

    args = tuple([slot(a) for a in args])
    if kwargs:
        kwargs = {k: slot(v) for k, v in kwargs.items()}
    encoded = _values.encode((args, kwargs) if kwargs else (args,))
    if encoded.size <= session.inline_limit:
        packed = _frames.value_arg(_frames.value(encoded.tag, encoded.data(), encoded.refs))
    else:
        tid = session.new_id()
        reservation = session.reserve(encoded, b"")
        seal = pb.Seal(reservation=reservation, seq=int.from_bytes(tid[8:], "big"), size=encoded.size, tag=encoded.tag, refs=encoded.refs)
        session.send(pb.KIND_SEAL, seal)
        large = session.adopt_own(tid + b"\0\0\0\0")
        refs.insert(0, ObjectRef(large, session))
        packed = b""
    for r in refs:
        packed += _frames.object_arg(r._entry.id)
    return packed, refs


class Retrying:
    """A function, with the exceptions after which it is run again."""

    __slots__ = ("function", "only")

    def __init__(self, function: Callable[..., Any], only: tuple[type[BaseException], ...]) -> None:
        self.function, self.only = function, only

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __reduce__(self) -> Any:
        return Retrying, (self.function, self.only)


def retried(options: dict[str, Any]) -> Optional[tuple[type[BaseException], ...]]:
    """The exceptions that ``retry_exceptions`` names; None if it is a bool."""
    given = options.get("retry_exceptions")
    return tuple(given) if isinstance(given, (list, tuple)) else None


def prefix(number: int, await_: bool, actor: bytes = b"", group: str = "") -> bytes:
    """The part of a Submit that all calls from here share."""
    m = pb.Submit(template=number, actor=actor, group=group)
    if await_:
        setattr(m, "await", True)
    running = _state.running.get()
    if running is not None:
        m.parent, m.parent_attempt = running.task, running.attempt
    data: bytes = m.SerializeToString()
    return data


_MAX_CODE = 60 << 20
"""Bytes of one function or class, which go in one message."""


def code_of(session: Session, thing: Any) -> bytes:
    """Has the node keep the code of a function or class, and returns its hash."""
    before, _values.found.refs = _values.found.refs, []
    try:
        data = cloudpickle.dumps(thing, protocol=5)
        refs = b"".join(_values.found.refs)
    except Exception as error:
        raise TypeError(
            f"Could not serialize {getattr(thing, '__qualname__', thing)!r}: {error}. "
            "weft.util.inspect_serializability(it) finds the part that is to blame."
        ) from error
    finally:
        _values.found.refs = before
    if len(data) > _MAX_CODE:
        raise ValueError(
            f"The remote function or class {getattr(thing, '__qualname__', thing)} is too large: it is pickled with what it refers to, which makes "
            f"{len(data) >> 20} MiB, and there may be {_MAX_CODE >> 20}. Put what is large into objects with weft.put(), and use their references."
        )
    digest = hashlib.sha256(data).digest()
    session.blob(digest, data, refs)
    return digest


def _window(options: dict[str, Any]) -> int:
    """Items by which a generator may be ahead of its consumer; 0 is the default."""
    return max(options.get("_generator_backpressure_num_objects") or 0, 0)


def returned(session: Session, tid: bytes, entries: list[Any]) -> Any:
    refs: list[ObjectRef[Any]] = [ObjectRef(e, session) for e in entries]
    if len(refs) == 1:
        return refs[0]
    return refs or None


def positional(signature: inspect.Signature) -> range:
    """How many arguments a function may have, if all are given by position."""
    least = most = 0
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            most = sys.maxsize - 1
        elif p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            return range(0)
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            most += 1
            least += p.default is p.empty
    return range(least, most + 1)


class RemoteFunction:
    """A function that ``remote`` was applied to. ``f.remote(…)`` runs it as a task and returns references to its results."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        _options.check("task", options)
        self._function = function
        self._function_name = f"{function.__module__}.{function.__qualname__}"
        self._default_options = options
        self._signature = inspect.signature(function)
        self._positional = positional(self._signature)
        self._head: Any = (None, None, b"")  # of its last Submit, and for which binding and running task that is
        self._generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        if inspect.iscoroutinefunction(function):
            raise ValueError("'async def' should not be used for remote tasks. Wrap the coroutine in asyncio.run, or use an actor.")
        self._bound: Optional[tuple[Session, Any, bytes]] = None
        self._code: Optional[tuple[Session, bytes]] = None
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self._function_name
        raise TypeError(f"Remote functions cannot be called directly. Instead of running '{name}()', try '{name}.remote()'.")

    def __reduce__(self) -> Any:
        return RemoteFunction, (self._function, self._default_options)

    def options(self, **options: Any) -> _FunctionOptions:
        """This function with other options for the calls made from what is returned."""
        if "max_calls" in options:
            raise ValueError("Setting 'max_calls' is not supported in '.options()': it belongs to the function, give it to @remote")
        _options.check("task", options)
        return _FunctionOptions(self, {**self._default_options, **options})

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        session = _state.current()
        bound, group = self._bound, _state.captured()
        if bound is None or bound[0] is not session or bound[2] != group:
            bound = self._bound = session, self._bind(session, self._default_options), group
        return self._submit(session, bound[1], args, kwargs)

    def _remote(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        from weft import dag

        return dag.function_node(self, args, kwargs, self._default_options)

    def _bind(self, session: Session, options: dict[str, Any]) -> tuple[int, int, bool, int]:
        """The template's number for options, how many results there are, whether they are streamed, and by how many the producer may be ahead."""
        only = retried(options)
        if only is None and (self._code is None or self._code[0] is not session):
            self._code = session, code_of(session, self._function)
        code = self._code[1] if only is None else code_of(session, Retrying(self._function, only))  # type: ignore[index]
        returns = options.get("num_returns")
        if returns is None:
            returns = "streaming" if self._generates else 1
        streams = returns in ("streaming", "dynamic")
        retries = options.get("max_retries")
        window = _window(options)
        t = _options.template(
            "task", options, kind=TASK, function=self._function_name, name=options.get("name") or self._function.__qualname__,
            code=code, returns=0 if streams else returns, stream=streams, max_retries=3 if retries is None else retries,
            retry_errors=bool(options.get("retry_exceptions")),
            window_items=window, max_calls=self._max_calls(),
            runtime_env=_environment.text(session, options.get("runtime_env")),
        )  # fmt: skip
        return session.template(t), 0 if streams else int(returns), streams, window

    def _max_calls(self) -> int:
        """How often a process runs it, 0 for any number. Frameworks keep a GPU's memory, so its user has a process of its own by default."""
        given = self._default_options.get("max_calls")
        return int(bool(self._default_options.get("num_gpus"))) if given is None else int(given)

    def _submit(self, session: Session, bound: tuple[int, int, bool, int], args: Any, kwargs: Any) -> Any:
        if kwargs or len(args) not in self._positional:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self._function_name}: {error}") from None
        number, returns, streams, window = bound
        packed, _keep = pack(session, args, kwargs)
        running = _state.running.get()
        head = self._head
        if head[0] is not bound or head[1] is not running:
            head = self._head = bound, running, prefix(number, not streams)
        tid, entries = session.submit(head[2], packed, returns)
        if streams:
            return ObjectRefGenerator(session, tid, window)
        return returned(session, tid, entries)


class _FunctionOptions:
    """What RemoteFunction.options returns."""

    def __init__(self, function: RemoteFunction, options: dict[str, Any]) -> None:
        self._function = function
        self._options = options
        self._bound: Optional[tuple[Session, Any, bytes]] = None

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        session = _state.current()
        bound, group = self._bound, _state.captured()
        if bound is None or bound[0] is not session or bound[2] != group:
            bound = self._bound = session, self._function._bind(session, self._options), group
        return self._function._submit(session, bound[1], args, kwargs)

    def options(self, **options: Any) -> _FunctionOptions:
        return self._function.options(**{**self._options, **options})

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        from weft import dag

        return dag.function_node(self._function, args, kwargs, self._options)


def method(**options: Any) -> Callable[[Any], Any]:
    """Options of an actor's method: num_returns, concurrency_group, max_task_retries, retry_exceptions."""
    for key in options:
        assert key in _options.KNOWN["method"], f"Invalid option keyword {key} for actor methods."

    def decorate(function: Any) -> Any:
        function.__ray_method_options__ = options
        return function

    return decorate


def method_table(cls: type) -> dict[str, dict[str, Any]]:
    """The methods of a class, with their options and whether they generate."""
    table: dict[str, dict[str, Any]] = {}
    for name, function in inspect.getmembers(cls, inspect.isroutine):
        if name.startswith("__") and name != "__call__":
            continue
        options = dict(getattr(function, "__ray_method_options__", {}))
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            options.setdefault("num_returns", "streaming")
        table[name] = options
    return table


def method_signature(cls: Optional[type], name: str) -> Optional[inspect.Signature]:
    """That of a method as its callers see it, without self; None if it is not known."""
    found = None if cls is None else inspect.getattr_static(cls, name, None)
    if found is None:
        return None
    try:
        signature = inspect.signature(getattr(cls, name))
    except (TypeError, ValueError):  # it is not written in Python
        return None
    if isinstance(found, (staticmethod, classmethod)):
        return signature
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return signature
    return signature.replace(parameters=parameters[1:])


def is_async(cls: type) -> bool:
    return any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for _, f in inspect.getmembers(cls, inspect.isfunction))


class ActorClass:
    """A class that ``remote`` was applied to. ``C.remote(…)`` starts an actor and returns a handle of it."""

    def __init__(self, cls: type, options: dict[str, Any]) -> None:
        _options.check("actor", options)
        for base in cls.__mro__[1:]:
            if "__ray_actor_class__" in base.__dict__:
                raise ex.ActorClassInheritanceException(f"{cls.__name__} inherits from an actor class; decorate only the last class")
        self.__ray_actor_class__ = cls
        self._options = options
        self._methods = method_table(cls)
        self._code: Optional[tuple[Session, bytes]] = None
        self.__name__, self.__qualname__, self.__doc__, self.__module__ = cls.__name__, cls.__qualname__, cls.__doc__, cls.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self.__name__
        raise TypeError(f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'.")

    def __mro_entries__(self, bases: Any) -> Any:
        raise ex.ActorClassInheritanceException(f"{self.__name__} is an actor class, which cannot be inherited from. Inherit from its plain class.")

    def __reduce__(self) -> Any:
        return ActorClass, (self.__ray_actor_class__, self._options)

    def options(self, **options: Any) -> ActorClass:
        other = ActorClass(self.__ray_actor_class__, {**self._options, **options})
        other._code = self._code
        return other

    def _remote(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        from weft import dag

        return dag.class_node(self, args, kwargs, self._options)

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        session = _state.current()
        cls, options = self.__ray_actor_class__, self._options
        self._check_arguments(args, kwargs)
        if self._code is None or self._code[0] is not session:
            self._code = session, code_of(session, cls)
        info = HandleInfo(cls.__name__, self._methods, options.get("max_task_retries") or 0, cls)
        t = self._template(session, info)
        packed, _keep = pack(session, args, kwargs)

        def handle(session: Session, actor: bytes, meta: bytes) -> ActorHandle:
            return ActorHandle(session, actor, HandleInfo.loads(meta) if meta else info, 1)

        return new_handle(session, t, packed, handle)

    def _check_arguments(self, args: Any, kwargs: Any) -> None:
        init = inspect.getattr_static(self.__ray_actor_class__, "__init__")
        if init is object.__init__:
            if args or kwargs:
                raise TypeError(f"{self.__name__}() takes no arguments")
            return
        try:
            inspect.signature(init).bind(None, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.__name__}: {error}") from None

    def _template(self, session: Session, info: HandleInfo) -> Any:
        cls, options = self.__ray_actor_class__, self._options
        t = _options.template(
            "actor", options, kind=CREATE, function=f"{cls.__module__}.{cls.__qualname__}", name=f"{cls.__name__}.__init__", code=self._code[1],  # type: ignore[index]
            returns=1, runtime_env=_environment.text(session, options.get("runtime_env")),
        )  # fmt: skip
        describe_actor(session, t.actor, options, cls.__name__, options.get("max_concurrency") or (1000 if is_async(cls) else 1))
        t.actor.meta = info.dumps()
        return t


def describe_actor(session: Session, a: Any, options: dict[str, Any], cls: str, concurrency: int) -> None:
    """Fills an ActorTemplate."""
    setattr(a, "class", cls)
    a.name, a.namespace = options.get("name") or "", options.get("namespace") or ""
    lifetime = options.get("lifetime")
    a.detached = session.detached if lifetime is None else lifetime == "detached"
    a.get_if_exists = bool(options.get("get_if_exists"))
    a.max_restarts, a.max_task_retries = options.get("max_restarts") or 0, options.get("max_task_retries") or 0
    a.concurrency = concurrency
    for name, limit in (options.get("concurrency_groups") or {}).items():
        a.groups[name] = limit
    unordered = options.get("allow_out_of_order_execution")
    a.out_of_order = concurrency > 1 if unordered is None else unordered  # those that run several at a time keep none waiting for another's arguments
    a.max_pending = max(options.get("max_pending_calls") or 0, 0)


def new_handle(session: Session, template: Any, packed: bytes, handle: Callable[[Session, bytes, bytes], ActorHandle]) -> ActorHandle:
    """Submits a constructor and returns what ``handle(session, actor, meta)`` makes of the actor, or of the one that has its name."""
    head = prefix(session.template(template), False)
    if template.actor.name or template.actor.detached:  # a cluster has to know it first
        tid, entries, found = _create_registered(session, head, packed)
        made = handle(session, bytes(found.actor), found.meta)
    else:
        tid, entries = session.submit(head, packed, 1)
        made = handle(session, tid, b"")
    for entry in entries:  # nobody asks for what a constructor returns
        entry.count = 1
        session.drop(entry)
    return made


def _create_registered(session: Session, head: bytes, packed: bytes) -> Any:
    number = next(session._requests)
    packed += pb.Submit(request=number).SerializeToString()
    session._answers[number] = None
    try:
        tid, entries = session.submit(head, packed, 1, pb.KIND_CREATE)
        session._await_answer(number, lends=False)
        found = session._answers[number]
    finally:
        del session._answers[number]
    if found.HasField("error"):
        for entry in entries:
            session.entries.pop(entry.id, None)
        from weft import _errors

        raise _errors.from_envelope(found.error, session.loads)
    if found.actor != tid:  # an older one: nothing was created
        for entry in entries:
            session.entries.pop(entry.id, None)
        entries = []
    return tid, entries, found


class HandleInfo:
    """What a handle must know of its class."""

    __slots__ = ("class_name", "cls", "methods", "retries")

    def __init__(self, class_name: str, methods: dict[str, dict[str, Any]], retries: int, cls: Optional[type] = None) -> None:
        self.class_name, self.methods, self.retries = class_name, methods, retries
        self.cls = cls  # where it is known, so that wrong arguments are found before the call

    def dumps(self) -> bytes:
        data: bytes = cloudpickle.dumps((self.class_name, self.methods, self.retries), protocol=5)
        return data

    @classmethod
    def loads(cls, data: bytes) -> HandleInfo:
        return cls(*cloudpickle.loads(data))


class ActorHandle:
    """A handle of an actor: ``handle.method.remote(…)`` calls it. When the last handle goes, so does the actor, unless it is detached."""

    def __init__(self, session: Session, actor: bytes, info: HandleInfo, counted: int) -> None:
        self._ray_session = session
        self._ray_actor = actor
        self._ray_info = info
        session.add_handle(actor, counted)

    @property
    def _actor_id(self) -> ActorID:
        return ActorID(self._ray_actor)

    _ray_actor_id = _actor_id

    def __getattr__(self, name: str) -> ActorMethod:
        if name in (READY, CALL, TERMINATE):
            return ActorMethod(self, name, {})
        if name.startswith("_ray") or name not in self._ray_info.methods:
            info = self.__dict__.get("_ray_info")
            raise AttributeError(f"'{info.class_name if info else 'ActorHandle'}' object has no attribute '{name}'")
        made = self.__dict__[name] = ActorMethod(self, name, self._ray_info.methods[name])
        return made

    def __dir__(self) -> list[str]:
        return [*self._ray_info.methods, READY, CALL, TERMINATE]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._ray_actor == other._ray_actor

    def __hash__(self) -> int:
        return hash(self._ray_actor)

    def __repr__(self) -> str:
        return f"Actor({self._ray_info.class_name}, {self._ray_actor.hex()})"

    def __reduce__(self) -> Any:
        self._ray_session.share_handle(self._ray_actor)
        return _restore_handle, (self._ray_actor, self._ray_info.dumps())

    def __del__(self) -> None:
        try:
            self._ray_session.drop_handle(self._ray_actor)
        except Exception:  # at the interpreter's end
            pass


def _restore_handle(actor: bytes, info: bytes) -> ActorHandle:
    return ActorHandle(_state.current(), actor, HandleInfo.loads(info), 0)


def _restore_method(handle: ActorHandle, name: str, options: dict[str, Any]) -> ActorMethod:
    method: ActorMethod = getattr(handle, name).options(**options)
    method._handle = handle
    return method


class ActorMethod:
    """A method of an actor, bound to a handle. It does not keep the handle, unless it came alone: whoever has the method from it does."""

    __slots__ = ("_actor", "_bound", "_handle", "_info", "_name", "_options", "_positional", "_session", "_signature")

    def __init__(self, handle: ActorHandle, name: str, options: dict[str, Any]) -> None:
        self._session, self._actor, self._info = handle._ray_session, handle._ray_actor, handle._ray_info
        self._handle: Optional[ActorHandle] = None
        self._name = name
        self._options = options
        self._bound: Any = None
        self._signature = method_signature(self._info.cls, name)
        self._positional = range(0) if self._signature is None else positional(self._signature)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"Actor methods cannot be called directly. Instead of running 'object.{self._name}()', try 'object.{self._name}.remote()'.")

    def __reduce__(self) -> Any:
        return _restore_method, (ActorHandle(self._session, self._actor, self._info, 0), self._name, self._options)

    def options(self, **options: Any) -> ActorMethod:
        _options.check("method", options)
        other = type(self).__new__(type(self))
        other._session, other._actor, other._info, other._name = self._session, self._actor, self._info, self._name
        other._options, other._bound = {**self._options, **options}, None
        other._signature, other._positional = self._signature, self._positional
        return other

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        session = self._session
        if self._signature is not None and (kwargs or len(args) not in self._positional):
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self._info.class_name}.{self._name}: {error}") from None
        running = _state.running.get()
        bound = self._bound
        if bound is None or bound[3] is not running:
            bound = self._bound = self._bind(running)
        head, returns, streams, _, window = bound
        packed, _keep = self._pack(args, kwargs)
        tid, entries = session.submit(head, packed, returns)
        if streams:
            return ObjectRefGenerator(session, tid, window)
        for entry in entries:
            entry.method = True
        return returned(session, tid, entries)

    def _remote(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        from weft import dag

        handle = ActorHandle(self._session, self._actor, self._info, 0)
        return dag.method_node(handle, self._name, args, kwargs, self._options)

    def _pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Any]:
        return pack(self._session, args, kwargs)

    def _template(self, **fields: Any) -> Any:
        return pb.Template(language="python", function=self._name, **fields)

    def _bind(self, running: Any) -> Any:
        options = self._options
        returns = options.get("num_returns")
        returns = 1 if returns is None else returns
        streams = returns in ("streaming", "dynamic")
        retries = options.get("max_task_retries")
        t = self._template(
            kind=METHOD, name=f"{self._info.class_name}.{self._name}", returns=0 if streams else returns,
            stream=streams, max_retries=self._info.retries if retries is None else retries, retry_errors=bool(options.get("retry_exceptions")),
            window_items=_window(options),
        )  # fmt: skip
        only = retried(options)
        if only is not None:
            t.code = code_of(self._session, only)
        group = options.get("concurrency_group") or ""
        return prefix(self._session.template(t), not streams, self._actor, group), 0 if streams else returns, streams, running, t.window_items
