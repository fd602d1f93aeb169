"""Errors between the session protocol's envelope and Python's exceptions."""

from __future__ import annotations

import traceback
from typing import Any, Callable, Optional

from weft import exceptions as ex
from weft._pb import session_pb2 as pb

USER_ERROR, WORKER_CRASHED, ACTOR_DIED, CANCELLED = 1, 2, 4, 6
SETUP_FAILED, NOT_REGISTERED, NOT_FOUND, ALREADY_EXISTS, ENCODE, CLOSED = 14, 15, 16, 17, 18, 19
PICKLE = 5

# By wire.Code; those that are not here are RaySystemError.
_KINDS: dict[int, type[Exception]] = {
    2: ex.WorkerCrashedError, 3: ex.NodeDiedError, 4: ex.ActorDiedError, 5: ex.ActorUnavailableError, 6: ex.TaskCancelledError,
    7: ex.GetTimeoutError, 8: ex.ObjectLostError, 9: ex.OwnerDiedError, 10: ex.ObjectFreedError, 11: ex.ObjectStoreFullError,
    12: ex.OutOfMemoryError, 13: ex.TaskUnschedulableError, 14: ex.RuntimeEnvSetupError, 15: ex.CrossLanguageError, 16: ValueError,
    17: ex.ActorAlreadyExistsError, 18: ex.CrossLanguageError, 22: ValueError, 23: ex.PendingCallsLimitExceeded, 25: ex.TaskPlacementGroupRemoved,
}  # fmt: skip


def text(e: Any) -> str:
    """What an envelope says, in one paragraph; with the last lines of a worker that died."""
    message = f"the actor died: {e.message}" if e.code == ACTOR_DIED and e.message else e.message
    parts = [f"{e.op}: {message}" if e.op and message else message or e.op]
    if e.attempt > 1:
        parts.append(f"(attempt {e.attempt})")
    if e.place:
        parts.append(f"[{e.place}]")
    said = " ".join(parts)
    if e.hint:
        said += f"; {e.hint}"
    if e.stderr:
        said += f"\n--- last lines of its stderr ---\n{e.stderr.rstrip()}"
    return said


def from_envelope(e: Any, loads: Callable[[bytes], Any]) -> BaseException:
    """The exception to raise for an envelope."""
    if e.code == USER_ERROR:
        cause = None
        if e.HasField("cause") and e.cause.tag == PICKLE:
            try:
                cause = loads(e.cause.data)
            except BaseException:  # its class may be unknown here, or refuse its arguments
                cause = None
        return ex.RayTaskError(e.op, _trace_of(e), cause, e.place).as_instanceof_cause()
    error = _KINDS.get(e.code, ex.RaySystemError)(text(e))
    if isinstance(error, ex.RayActorError) and e.actor:
        error.actor_id = e.actor.hex()
    return error


def _trace_of(e: Any) -> str:
    """The remote traceback. Python's ends with the message; Go's is a panic's stack, or there is none."""
    if e.trace and e.message in e.trace:
        return str(e.trace)
    said = f"{e.type}: {e.message}" if e.type else str(e.message)
    return f"{said}\n{e.trace}" if e.trace else said


def to_envelope(error: BaseException, op: str, place: str, dumps: Callable[[Any], bytes]) -> Any:
    """The envelope of what a function raised."""
    if isinstance(error, ex.RayTaskError) and error.cause is not None:
        # A task that fails because another has passes that one's error on.
        trace, cause = str(error), error.cause
    else:
        trace, cause = _trace(error), error
    m = pb.Error(code=USER_ERROR, type=type(cause).__name__, message=str(error), trace=trace, op=op, place=place)
    data = _pickled(cause, dumps)
    if data is not None:
        m.cause.tag, m.cause.data, m.cause.size = PICKLE, data, len(data)
    return m


def _pickled(cause: BaseException, dumps: Callable[[Any], bytes]) -> Optional[bytes]:
    def pickles(value: Any) -> bool:
        try:
            dumps(value)
            return True
        except BaseException:  # whatever a __reduce__ raises
            return False

    for portable in (ex.Portable(cause), ex.Portable(cause, pickles)):
        try:
            return dumps(portable)
        except BaseException:  # likewise
            pass
    return None


def _trace(error: BaseException) -> str:
    """The traceback from the user's frames on."""
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_globals.get("__name__", "").startswith("weft._"):
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb))
