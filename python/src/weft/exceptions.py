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
    └── RaySystemError
    ActorAlreadyExistsError (ValueError, RayError)
"""

from __future__ import annotations

from typing import Any, Optional


class RayError(Exception):
    """Everything that Weft raises for what happens to tasks, actors and objects."""


class RaySystemError(RayError):
    """Weft itself could not go on."""


class RayTaskError(RayError):
    """A function raised. ``cause`` is what it raised, if that could be pickled."""

    def __init__(self, function_name: str = "", traceback_str: str = "", cause: Optional[BaseException] = None, place: str = "") -> None:
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.place = place
        Exception.__init__(self, function_name, traceback_str, cause, place)  # not the user's, which may want other arguments

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
        error = _both(type(cause))(self.function_name, self.traceback_str, cause, self.place)
        error.__dict__.update({k: v for k, v in cause.__dict__.items() if k not in error.__dict__})
        error.args = cause.args
        if isinstance(error, OSError) and isinstance(cause, OSError):  # it keeps these elsewhere
            error.errno, error.strerror, error.filename = cause.errno, cause.strerror, cause.filename
        return error


_classes: dict[type[BaseException], type[RayTaskError]] = {}


def _both(kind: type[BaseException]) -> type[RayTaskError]:
    """The class that is both RayTaskError and kind."""
    made = _classes.get(kind)
    if made is None:
        name = f"RayTaskError({kind.__name__})"

        builtin: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")

        def new(cls: Any, *args: Any) -> Any:
            return builtin.__new__(cls)  # not the user's, as above

        def init(self: Any, *args: Any) -> None:
            RayTaskError.__init__(self, *args)

        body = {"__module__": "weft.exceptions", "__new__": new, "__init__": init, "__str__": RayTaskError.__str__, "__reduce__": _reduce}
        try:
            made = type(name, (RayTaskError, kind), body)
        except TypeError:  # kind cannot be a base
            made = RayTaskError
        _classes[kind] = made
    return made


def _reduce(error: RayTaskError) -> tuple[Any, ...]:
    return _rebuild, (error.function_name, error.traceback_str, error.cause, error.place)


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
    """The task was cancelled."""


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
    """There is no such function in another language's program, or a value cannot be read there."""


class AsyncioActorExit(RayError):
    """Raised by exit_actor in an asynchronous actor."""


class UnserializableException(RayError):
    """What a function raised cannot be pickled."""


class ActorClassInheritanceException(TypeError):
    """A class inherits from one that is an actor class already."""
