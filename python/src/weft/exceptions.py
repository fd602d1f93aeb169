"""What can go wrong, under Ray's names.

::

    RayError
    ├── RayTaskError                      the function raised; also an instance of what it raised
    ├── RayActorError
    │   ├── ActorDiedError                for good; says why
    │   └── ActorUnavailableError         restarting: the call may have run
    ├── WorkerCrashedError                the process died; has its last lines
    ├── NodeDiedError, LocalRayletDiedError
    ├── TaskCancelledError
    ├── GetTimeoutError (TimeoutError)
    ├── ObjectLostError
    │   ├── ObjectFetchTimedOutError, OwnerDiedError, ObjectReconstructionFailedError, ObjectFreedError
    ├── ObjectStoreFullError, OutOfDiskError, OutOfMemoryError
    ├── RuntimeEnvSetupError
    ├── TaskUnschedulableError, ActorUnschedulableError, TaskPlacementGroupRemoved, ActorPlacementGroupRemoved
    ├── PendingCallsLimitExceeded
    ├── RaySystemError
    │   └── RayChannelError, RayCgraphCapacityExceeded, RayDirectTransportError, StreamingGeneratorReplayInconsistentError
    └── rare: see below
    ActorAlreadyExistsError (ValueError, RayError)
"""

from __future__ import annotations

from typing import Any, Callable, Optional


class RayError(Exception):
    """Everything that Weft raises for what happens to tasks, actors and objects."""


class RaySystemError(RayError):
    """Weft itself could not go on."""


class RayTaskError(RayError):
    """A function raised. ``cause`` is what it raised, if that could be pickled."""

    function_name: str
    traceback_str: str
    cause: Optional[BaseException]
    place: str

    def __init__(self, function_name: str = "", traceback_str: str = "", cause: Optional[BaseException] = None, place: str = "") -> None:
        _describe(self, function_name, traceback_str, cause, place)
        Exception.__init__(self, function_name, traceback_str, cause, place)

    def __str__(self) -> str:
        at = f" ({self.place})" if self.place else ""
        return f"{self.function_name} failed{at}\n{self.traceback_str}".rstrip()

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as one that is also of the class that was raised."""
        cause = self.cause
        if cause is None or isinstance(cause, RayError):
            return self
        if isinstance(cause, (SystemExit, KeyboardInterrupt, GeneratorExit)):
            return self
        try:
            error = _remake(_both(type(cause)), *_parts(cause))
        except Exception:  # its class is not like others
            return self
        _describe(error, self.function_name, self.traceback_str, cause, self.place)
        return error  # type: ignore[return-value]


def _describe(error: Any, function_name: str, traceback_str: str, cause: Optional[BaseException], place: str) -> None:
    """What every RayTaskError has. The user's __init__ is not run: it may want other arguments."""
    error.function_name, error.traceback_str, error.cause, error.place = function_name, traceback_str, cause, place


_classes: dict[type[BaseException], type[RayTaskError]] = {}


def _both(kind: type[BaseException]) -> type[RayTaskError]:
    """The class that is both RayTaskError and kind."""
    made = _classes.get(kind)
    if made is None:
        body = {
            "__module__": "weft.exceptions", "__new__": _builtin(kind).__new__, "__init__": _no_init, "__str__": RayTaskError.__str__,
            "__reduce__": _reduce,
        }  # fmt: skip
        try:
            made = type(f"RayTaskError({kind.__name__})", (RayTaskError, kind), body)
        except TypeError:  # kind cannot be a base
            made = RayTaskError
        _classes[kind] = made
    return made


def _no_init(error: RayTaskError, *args: Any, **kwargs: Any) -> None:
    pass


def _builtin(kind: type[BaseException]) -> type[BaseException]:
    """The nearest base of kind that is Python's own."""
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _parts(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the nearest base of Python's own, and the attributes."""
    reduced: Any = _builtin(type(error)).__reduce__(error)
    return reduced[1], reduced[2] if len(reduced) > 2 else {}


def _remake(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """An exception of a class, without its own __new__ and __init__, which may want what nobody knows any more."""
    builtin: Any = _builtin(kind)
    error: BaseException = builtin.__new__(kind, *args)
    builtin.__init__(error, *args)
    error.__setstate__(attributes)
    return error


class Portable:
    """An exception that pickles though its __init__ has other parameters than its args, and may do without some attributes."""

    def __init__(self, error: BaseException, keep: Callable[[Any], bool] = lambda value: True) -> None:
        self._error, self._keep = error, keep

    def __reduce__(self) -> Any:
        error, kind = self._error, type(self._error)
        if kind.__reduce__ is not _builtin(kind).__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__:
            return error.__reduce_ex__(2)  # it knows how
        args, attributes = _parts(error)
        args = tuple(a if self._keep(a) else repr(a) for a in args)
        return _remake, (kind, args, {k: v for k, v in attributes.items() if self._keep(v)})


def _reduce(error: RayTaskError) -> tuple[Any, ...]:
    cause = None if error.cause is None else Portable(error.cause)
    return _rebuild, (error.function_name, error.traceback_str, cause, error.place)


def _rebuild(*args: Any) -> RayTaskError:
    return RayTaskError(*args).as_instanceof_cause()


class RayActorError(RayError):
    """An actor's call has no result because of the actor. ``actor_id`` is hex."""

    actor_id: Optional[str] = None
    actor_init_failed = False
    preempted = False


class ActorDiedError(RayActorError):
    """The actor is gone for good."""


class ActorUnavailableError(RayActorError):
    """The actor restarted while the call was out: it may have run."""


class WorkerCrashedError(RayError):
    """The process that ran the task is gone."""


class NodeDiedError(RayError):
    """The node that ran the task is gone."""


class LocalRayletDiedError(RayError):
    """This program's node is gone."""


class TaskCancelledError(RayError):
    """The task was cancelled. ``task_id`` is a TaskID, or None where it is not known."""

    task_id: Any = None


class GetTimeoutError(RayError, TimeoutError):
    """``get`` waited as long as it was told to."""


class ObjectLostError(RayError):
    """No copy of the object is left, and it cannot be made again."""


class ObjectFetchTimedOutError(ObjectLostError):
    """The object did not come from another node in time."""


class OwnerDiedError(ObjectLostError):
    """The node that owned the object is gone."""


class ObjectReconstructionFailedError(ObjectLostError):
    """The object could not be made again."""


class ObjectFreedError(ObjectLostError):
    """Every reference to the object had been dropped."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """A reference was used that nobody holds."""


class ObjectStoreFullError(RayError):
    """Shared memory and the spill disk are full."""


class PlasmaObjectNotAvailable(RayError):
    """The object is not in shared memory."""


class OutOfDiskError(RayError):
    """The spill disk is full."""


class OutOfMemoryError(RayError):
    """The memory guard ended the task."""


class RuntimeEnvSetupError(RayError):
    """The environment or the worker of a task could not be made."""


class TaskUnschedulableError(RayError):
    """No node can ever run the task."""


class ActorUnschedulableError(RayError):
    """No node can ever run the actor."""


class TaskPlacementGroupRemoved(RayError):
    """The placement group of the task is gone."""


class ActorPlacementGroupRemoved(RayError):
    """The placement group of the actor is gone."""


class PendingCallsLimitExceeded(RayError):
    """The caller has too many calls waiting at the actor."""


class ActorAlreadyExistsError(ValueError, RayError):
    """The name is taken."""


class ActorHandleNotFoundError(ValueError, RayError):
    """The handle is of an actor that is not known."""


class CrossLanguageError(RayError):
    """A function of another language failed."""


class AsyncioActorExit(RayError):
    """Raised by exit_actor in an asynchronous actor."""


class UnserializableException(RayError):
    """What a function raised cannot be pickled."""


class OufOfBandObjectRefSerializationException(RayError):
    """A reference was pickled by itself, which RAY_allow_out_of_band_object_ref_serialization=0 forbids."""


class ObjectRefStreamEndOfStreamError(RayError):
    """A generator has no further item."""


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator that ran again made other items."""


class UserCodeException(RayError):
    """Code of the user's raised."""


class RpcError(RayError):
    """A node did not answer."""


class AuthenticationError(RayError):
    """A node did not believe who asked."""


class RayChannelError(RaySystemError):
    """A channel of a compiled graph failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel of a compiled graph was waited for as long as it was told to."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has too many executions under way."""


class RayDirectTransportError(RaySystemError):
    """A tensor could not be passed between devices."""


class ActorClassInheritanceException(TypeError):
    """A class inherits from one that is an actor class already."""


RAY_EXCEPTION_TYPES = [kind for kind in list(globals().values()) if isinstance(kind, type) and issubclass(kind, RayError)]
