"""A worker process: runs what its node sends. ``python -m weft._worker``, started by a node.

The main thread reads the call lane and runs tasks, and the methods of a serial actor, one after the other. Methods of an
actor that allows several at a time run on threads. If the class is asynchronous they run on the event loop of a thread, which
then reads the call lane itself. The side thread cancels, takes back what has not begun, and ends the process.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional

from weft import _devices, _environment, _errors, _frames, _portable, _state, _values
from weft import exceptions as ex
from weft._pb import session_pb2 as pb
from weft._remote import CALL, CREATE, METHOD, READY, TASK, TERMINATE, Retrying, Slot, is_async
from weft._session import Session, shield
from weft._title import Title

_RESULT = pb.KIND_RESULT
_INTERRUPTED = 1000  # notes of cancelled attempts that are kept

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor


class Description:
    """A Template, with what each of its calls needs as plain attributes."""

    __slots__ = ("code", "cpus", "function", "kind", "message", "plain", "portable", "stream", "window_bytes", "window_items")

    def __init__(self, t: Any) -> None:
        self.message = t
        self.code, self.function, self.kind, self.portable, self.stream = t.code, t.function, t.kind, t.portable, t.stream
        self.window_items, self.window_bytes = t.window_items, t.window_bytes
        self.cpus = t.resources.get("CPU", 0) // 10_000
        self.plain = t.kind != CREATE and t.returns == 1 and not t.stream and not t.portable  # one pickled result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.message, name)


class Job:
    """One task, constructor or method call that the node has sent."""

    __slots__ = (
        "actor",
        "attempt",
        "begun_at",
        "bytes",
        "cancelled",
        "execute",
        "future",
        "incarnation",
        "items",
        "lease",
        "loop",
        "started",
        "task",
        "template",
        "thread",
    )

    def __init__(self, m: Any, template: Description) -> None:
        self.execute = m
        self.template = template
        self.task: bytes = m.task
        self.attempt: int = m.attempt
        self.lease: int = m.lease
        self.actor: bytes = m.actor
        self.incarnation: int = m.incarnation
        self.started = False
        self.cancelled = False
        self.begun_at = 0
        self.thread: Optional[int] = None
        self.loop: Any = None  # on which it runs
        self.future: Any = None  # there
        self.items: int = template.window_items  # that a generator may still make
        self.bytes: int = template.window_bytes


class Actor:
    """The actor that lives in this process."""

    def __init__(self, job: Job, cls: type) -> None:
        self.id = job.actor
        self.name: str = job.template.actor.name
        self.retries: int = job.template.actor.max_task_retries
        self.incarnation = job.incarnation
        self.template = job.template
        self.cls = cls
        self.instance: Any = None
        described = job.template.actor
        self.loop: Optional[asyncio.AbstractEventLoop] = None  # which reads the call lane
        self.loops: dict[str, asyncio.AbstractEventLoop] = {}  # of an asynchronous one with groups, which do not hold each other up
        self.woken = False  # the loop will look at what has come
        self.flushes = False  # it will write answers
        self.limits: dict[str, Any] = {}
        self.pools: dict[str, ThreadPoolExecutor] = {}
        groups = {"": described.concurrency, **described.groups}
        if is_async(cls):
            import asyncio

            for name, limit in groups.items():
                self.limits[name] = asyncio.Semaphore(limit)
                self.loops[name] = loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name=f"weft-loop-{name}".rstrip("-"), daemon=True).start()
            if len(groups) == 1:
                self.loop, self.loops = self.loops[""], {}
        elif described.groups or described.concurrency > 1:
            from concurrent.futures import ThreadPoolExecutor

            for name, limit in groups.items():
                self.pools[name] = ThreadPoolExecutor(limit, thread_name_prefix=f"weft-{name or 'actor'}")

    def group(self, name: str, table: dict[str, Any]) -> str:
        if name and name not in table:
            raise ValueError(f"{self.cls.__name__} has no concurrency group {name!r}; there are {sorted(k for k in table if k)}")
        return name


class _Looped:
    """Reads the call lane on an actor's event loop, unless another thread does because it waits for something."""

    def __init__(self, worker: Worker, actor: Actor) -> None:
        self._worker = worker
        self._actor = actor
        self._loop: asyncio.AbstractEventLoop = actor.loop  # type: ignore[assignment]
        self._lane = worker.session.call.sock.fileno()
        self._poll = select.poll()
        self._poll.register(self._lane, select.POLLIN)
        self._on = False  # the loop looks whether there is something to read
        self._reading = False

    def wake(self) -> None:
        """Has the loop read again. Another thread has given up the lead."""
        if not self._on:
            self._loop.call_soon_threadsafe(self._listen)

    def arrived(self) -> None:
        """Has the loop begin a call, which whoever leads has read."""
        if not self._reading and not self._actor.woken:
            self._actor.woken = True
            self._loop.call_soon_threadsafe(self._worker.begin_arrived, self._actor)

    def _listen(self) -> None:
        if not self._on and self._worker.session.error is None:
            self._on = True
            self._loop.add_reader(self._lane, self._read)

    def _read(self) -> None:
        session = self._worker.session
        if not session._lead.acquire(blocking=False):
            self._ignore()
            if not session._lead.locked():  # given up before anybody could see that nothing listens
                self._listen()
            return
        self._reading = True
        try:
            if self._poll.poll(0):  # another thread may have been quicker
                session._read()
        finally:
            self._reading = False
            session._give_up_lead()
        if session.error is not None:
            self._ignore()
            return
        self._worker.begin_arrived(self._actor)

    def _ignore(self) -> None:
        self._loop.remove_reader(self._lane)
        self._on = False


class _Ended(ex.ActorDiedError):
    """What the caller gets of a call with which the actor has ended."""


class ActorExit(BaseException):
    """Raised by exit_actor."""


class Worker:
    """The role that a worker's session has."""

    def __init__(self) -> None:
        self.session: Session = None  # type: ignore[assignment]
        self.jobs: deque[Job] = deque()
        self.templates: dict[int, Description] = {}
        self.functions: dict[bytes, Any] = {}
        self.actor: Optional[Actor] = None
        self.running: dict[bytes, Job] = {}
        self.interrupted: dict[bytes, int] = {}  # attempts that were cancelled, and may come yet
        self.lock = threading.RLock()
        self.waiting: dict[bytes, int] = {}
        self.credit = threading.Condition()
        self.leaving = False
        self.place = ""
        self.broken: Optional[ex.RuntimeEnvSetupError] = None  # why its environment cannot be used
        self.looped: Optional[_Looped] = None
        self.title = Title()
        self.titled: Any = None  # the description that title is of
        self.threads = "OMP_NUM_THREADS" not in os.environ  # which says how many numpy may use: as many as the task has CPUs

    # The main thread.

    def serve(self) -> None:
        session = self.session
        self.title.set("idle")
        self.place = f"pid={os.getpid()}, worker {session.info.worker} on {socket.gethostname()}"
        while True:
            if not self.jobs:
                session.wait_until(lambda: bool(self.jobs) or self.leaving)
            if not self.jobs:
                break
            job = self._next()
            if job is not None and self.broken is not None:
                self._answer(job, error=self.broken)
                break  # another process may have more luck
            if job is not None:
                self._dispatch(job)
            if self.actor is not None and self.actor.loop is not None:
                self._stand_by(self.actor)
        session.flush()

    def _stand_by(self, actor: Actor) -> None:
        """Leaves everything to the actor's loop, until the session is over."""
        session = self.session
        self.looped = _Looped(self, actor)
        session.reader = self.looped.wake
        self.looped.wake()
        with session._changed:
            session._changed.wait_for(lambda: session.error is not None)
        session.check()

    def _next(self) -> Optional[Job]:
        with shield, self.lock:
            if not self.jobs:
                return None
            job = self.jobs.popleft()
            self.running[job.task] = job
            return job

    def execute(self, m: Any) -> None:
        """Takes an Execute; called by the thread that leads."""
        if m.HasField("template"):
            self.templates[m.template_id] = Description(m.template)
        job = Job(m, self.templates[m.template_id])
        self.jobs.append(job)
        if self.interrupted.pop(job.task, 0) == job.attempt:  # looked up after the append: see _interrupt
            job.cancelled = True
        if self.looped is not None:
            self.looped.arrived()

    def _dispatch(self, job: Job) -> None:
        actor = self.actor
        if job.template.kind != METHOD or actor is None or not (actor.pools or actor.loops):
            self._run(job)
            return
        try:
            group = self._group_of(job, actor)
        except ValueError as error:
            self._answer(job, error=error)
            return
        if actor.loops:
            job.loop = actor.loops[group]
            job.loop.call_soon_threadsafe(self._begin_on, job, actor, group)
        else:
            actor.pools[group].submit(self._run, job)

    def _begin_on(self, job: Job, actor: Actor, group: str) -> None:
        """Begins a call on its group's loop."""
        job.future = job.loop.create_task(self._run_async(job, actor, group))

    def begin_arrived(self, actor: Actor) -> None:
        """Begins, on the loop, what has come."""
        actor.woken = False
        while (job := self._next()) is not None:
            try:
                group = self._group_of(job, actor)
            except ValueError as error:
                self._answer(job, error=error)
            else:
                job.loop = actor.loop
                job.future = job.loop.create_task(self._run_async(job, actor, group))

    def _group_of(self, job: Job, actor: Actor) -> str:
        table = actor.limits or actor.pools
        name = job.execute.group
        if not name:
            name = getattr(getattr(actor.cls, job.template.function, None), "__ray_method_options__", {}).get("concurrency_group") or ""
        return actor.group(name, table)

    def _begin(self, job: Job) -> None:
        job.begun_at = time.perf_counter_ns()
        job.thread = threading.get_ident()
        job.started = True
        if job.template.kind != METHOD and (job.execute.devices or _devices.assigned()):
            _devices.assign(job.execute.devices)
        if job.template.kind != METHOD and self.threads:
            os.environ["OMP_NUM_THREADS"] = str(max(job.template.cpus, 1))
        if job.template is not self.titled and job.template.kind != METHOD:  # for which its actor's name stands
            self.titled = job.template
            self.title.set(job.template.name.removesuffix(".__init__"))
        if job.execute.begun:
            self.session.send(pb.KIND_BEGUN, pb.TaskRef(task=job.task))

    def _run(self, job: Job) -> None:
        """Runs a job on this thread, and answers."""
        token = _state.running.set(job)
        try:
            self._begin(job)
            if job.cancelled:
                raise ex.TaskCancelledError("before it began")
            function = self._function(job)
            args, kwargs = self._arguments(job)
            value = function(*args, **kwargs)
            del args, kwargs
            if job.template.stream:
                self._answer(job, items=self._send_items(job, value))
            else:
                self._answer(job, value)
        except ActorExit:
            self._answer(job, error=_Ended("it ended itself"), exits=True)
        except KeyboardInterrupt as error:
            self._answer(job, error=ex.TaskCancelledError("while it ran") if job.cancelled else error)
        except SystemExit as error:
            self._exit(job, error)
        except BaseException as error:
            self._answer(job, error=error)
        finally:
            _state.running.reset(token)

    async def _run_async(self, job: Job, actor: Actor, group: str) -> None:
        import asyncio

        _state.running.set(job)
        job.started = True
        try:
            if job.cancelled:
                raise ex.TaskCancelledError("before it began")
            async with actor.limits[group]:
                self._begin(job)
                args, kwargs = self._arguments(job)
                value = self._function(job)(*args, **kwargs)
                if inspect.isasyncgen(value):
                    n = 0
                    async for item in value:
                        if self._full(job):
                            await asyncio.get_running_loop().run_in_executor(None, self._await_credit, job)
                        self._send_item(job, item, n)
                        n += 1
                    self._answer(job, items=n)
                    return
                if inspect.isawaitable(value):
                    value = await value
                if job.template.stream:
                    self._answer(job, items=self._send_items(job, value))
                else:
                    self._answer(job, value)
        except ActorExit:
            self._answer(job, error=_Ended("it ended itself"), exits=True)
        except asyncio.CancelledError as error:
            self._answer(job, error=ex.TaskCancelledError("while it ran") if job.cancelled else error)
        except BaseException as error:
            self._answer(job, error=error)

    def _exit(self, job: Job, error: SystemExit) -> None:
        """The function ends its process: its task fails with that, or its actor ends."""
        code = error.code
        if job.template.kind == METHOD and code in (0, None):
            self._answer(job, error=_Ended("it ended itself"), exits=True)
            return
        self.session.flush()
        sys.stdout.flush()
        print(f"sys.exit({code!r}) in a task ends its worker", file=sys.stderr, flush=True)
        os._exit(code if isinstance(code, int) else 1)

    # Functions and arguments.

    def _function(self, job: Job) -> Callable[..., Any]:
        t = job.template
        if t.kind == TASK:
            return self._load(t)  # type: ignore[no-any-return]
        if t.kind == CREATE:
            cls = self._load(t)

            def create(*args: Any, **kwargs: Any) -> None:
                actor = Actor(job, cls)
                self.actor = actor
                actor.instance = cls(*args, **kwargs)

            return create
        actor = self.actor
        if actor is None or actor.incarnation != job.incarnation:
            raise ex.ActorUnavailableError("its process does not have this incarnation of the actor")
        if t.function == READY:
            return lambda: True
        if t.function == TERMINATE:
            return _terminate
        if t.function == CALL:
            return lambda fn, *a, **k: fn(actor.instance, *a, **k)
        return getattr(actor.instance, t.function)  # type: ignore[no-any-return]

    def _load(self, t: Any) -> Any:
        if not t.code:
            return by_name(t.function)
        found = self.functions.get(t.code)
        if found is None:
            data = self.session.ask(pb.KIND_FETCH, pb.Fetch(hash=t.code)).data
            found = self.functions[t.code] = _values.decode(_values.PICKLE, data)
        return found

    def _arguments(self, job: Job) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return unpack(job.execute.args, job.template.portable, self._argument, self._list)

    def _argument(self, a: Any) -> Any:
        return self._value(a.value, a.object)

    def _list(self, a: Any) -> list[Any]:
        return [self._value(v, a.objects[20 * i : 20 * i + 20]) for i, v in enumerate(a.values)]

    def _value(self, value: Any, of: bytes) -> Any:
        if value.HasField("error"):
            raise _errors.from_envelope(value.error, self.session.loads)
        if value.HasField("at"):
            oid = bytes(of)
            view = self.session.slabs.view(value.at, value.size or value.at.size, lambda: self.session._unpin(oid))
            return _values.decode(value.tag, view)
        return _values.decode(value.tag, value.data)

    # Answers.

    def _answer(self, job: Job, value: Any = None, *, error: Optional[BaseException] = None, items: int = 0, exits: bool = False) -> None:
        ran = time.perf_counter_ns() - job.begun_at
        if error is None and not exits and job.template.plain:
            try:
                encoded = _values.encode(value)
            except BaseException as e:
                error = e
            else:
                if encoded.size <= self.session.inline_limit:
                    whole = _frames.value(encoded.tag, encoded.data(), encoded.refs)
                    self._send_result(job, _frames.result(job.task, job.attempt, job.lease, whole, ran))
                    return
        m = pb.Result(task=job.task, attempt=job.attempt, lease=job.lease, ran=ran, items=items, exits=exits)
        if error is None and not exits and not job.template.stream:
            try:
                self._fill(job, m, value)
            except BaseException as e:
                del m.returns[:], m.reservations[:]
                error = e
        if error is not None:
            m.error.CopyFrom(self._envelope(job, error))
            m.final = self._final(job, error)
        self._send_result(job, m.SerializeToString())

    def _send_result(self, job: Job, body: bytes) -> None:
        with shield, self.lock:
            self.running.pop(job.task, None)
            last = not self.jobs
        session = self.session
        session.call.queue(_RESULT, body)
        if job.future is None:
            if last:
                session.flush()
            elif not session._poked:
                session.poke()
        elif job.loop is self._reader():
            self._flush_soon(alone=not self.running)
        else:
            self._flush_answers()

    def _reader(self) -> Any:
        """The loop that reads the call lane, if one does."""
        return self.actor.loop if self.actor is not None else None

    def _flush_soon(self, alone: bool) -> None:
        """Writes, when the loop has gone round, the answers of all calls that have ended by then. One that was alone goes at once."""
        actor = self.actor
        if actor is None or actor.loop is None or actor.flushes:
            return
        if alone:
            self._flush_answers()
        else:
            actor.flushes = True
            actor.loop.call_soon(self._flush_gathered, actor)

    def _flush_gathered(self, actor: Actor) -> None:
        actor.flushes = False
        self._flush_answers()

    def _flush_answers(self) -> None:
        with contextlib.suppress(Exception):  # the node is gone, and the main thread sees to that
            self.session.flush()

    def _final(self, job: Job, error: BaseException) -> bool:
        """Whether the error is none of those that the options have retried."""
        t = job.template
        if not t.retry_errors or not t.code:
            return False
        try:
            named = self._load(t)
        except BaseException:  # it is what failed
            return False
        only = named.only if type(named) is Retrying else named
        return isinstance(only, tuple) and not isinstance(error, only)

    def _fill(self, job: Job, m: Any, value: Any) -> None:
        n = job.template.returns
        if job.template.kind == CREATE:
            m.returns.add()
            return
        values = [value] if n == 1 else _several(value, n, job.template.name)
        reservations = []
        for v in values:
            reservations.append(self._encode(job, v, m.returns.add()))
        if any(reservations):
            m.reservations.extend(reservations)

    def _encode(self, job: Job, value: Any, into: Any) -> int:
        """Encodes a value; returns the reservation that it lies in, or 0."""
        encoded = _portable.encode(value) if job.template.portable else _values.encode(value)
        into.tag, into.size, into.refs = encoded.tag, encoded.size, encoded.refs
        if encoded.size <= self.session.inline_limit:
            into.data = encoded.data()
            return 0
        return self.session.reserve(encoded, job.task)

    def _send_items(self, job: Job, values: Any) -> int:
        n = 0
        for value in values:
            self._await_credit(job)
            self._send_item(job, value, n)
            n += 1
        return n

    def _full(self, job: Job) -> bool:
        """Whether the consumer is as far behind as the stream's window allows."""
        return (job.items <= 0 or job.bytes <= 0) and not job.cancelled and self.session.error is None

    def _await_credit(self, job: Job) -> None:
        if not self._full(job):
            return
        with self.blocked():
            self.session.flush()
            with self.credit:
                self.credit.wait_for(lambda: not self._full(job))
        self.session.check()

    def _give_credit(self, m: Any) -> None:
        job = self.running.get(m.task)
        if job is not None:
            with self.credit:
                job.items += m.n
                job.bytes += m.bytes
                self.credit.notify_all()

    def _send_item(self, job: Job, value: Any, index: int) -> None:
        if job.cancelled:
            raise ex.TaskCancelledError("while it ran")
        m = pb.Item(task=job.task, attempt=job.attempt, index=index)
        m.reservation = self._encode(job, value, m.value)
        with self.credit:
            job.items -= 1
            job.bytes -= m.value.size
        self.session.send(pb.KIND_ITEM, m)

    def _envelope(self, job: Job, error: BaseException) -> Any:
        name = job.template.name or job.template.function
        if isinstance(error, _Ended):
            return pb.Error(code=_errors.ACTOR_DIED, op=name, message=str(error), place=self.place)
        if isinstance(error, ex.TaskCancelledError):
            return pb.Error(code=_errors.CANCELLED, op=name, message=str(error), place=self.place)
        if isinstance(error, _values.NotPortable) and job.template.portable:
            return pb.Error(code=_errors.ENCODE, op=name, message=str(error), place=self.place)
        if isinstance(error, _NotFound):
            return pb.Error(code=_errors.NOT_REGISTERED, op=name, message=str(error), place=self.place, hint=error.hint)
        if error is self.broken:
            return pb.Error(code=_errors.SETUP_FAILED, op=name, message=str(error), place=self.place)
        return _errors.to_envelope(error, name, self.place, _values.dumps)

    @contextlib.contextmanager
    def blocked(self, entries: Any = ()) -> Iterator[None]:
        """The running task waits: its CPU is another's meanwhile."""
        job = _state.running.get()
        if job is None or job.task not in self.running:
            yield
            return
        with self.lock:
            n = self.waiting[job.task] = self.waiting.get(job.task, 0) + 1
        if n == 1:
            ids = b"".join(e.id for e in entries)[:20_000]
            self.session.call.queue(pb.KIND_BLOCKED, pb.TaskRef(task=job.task, objects=ids).SerializeToString())
        try:
            yield
        finally:
            with self.lock:
                n = self.waiting[job.task] = self.waiting[job.task] - 1
                if n == 0:
                    del self.waiting[job.task]
            if n == 0:
                self.session.call.queue(pb.KIND_UNBLOCKED, pb.TaskRef(task=job.task).SerializeToString())
                self.session.poke()

    # The side thread.

    def on_side(self, kind: int, body: bytes) -> None:
        if kind == pb.KIND_EXIT:
            self.leaving = True
            if not self.running and not self.jobs:
                self.session.close(_Gone())
        elif kind == pb.KIND_STOP_ACTOR:
            os._exit(0)
        elif kind == pb.KIND_CREDIT:
            self._give_credit(pb.Credit.FromString(body))
        elif kind == pb.KIND_INTERRUPT:
            self._interrupt(pb.Interrupt.FromString(body))
        elif kind == pb.KIND_REVOKE:
            self._revoke(pb.Revoke.FromString(body))

    def on_end(self) -> None:
        """The session is over. If nobody said that it would be, the node is gone: whatever runs here is nobody's."""
        if not self.leaving:
            with contextlib.suppress(OSError):  # who reads that is likely gone
                print(self.session.error, file=sys.stderr, flush=True)
            _end_group()

    def _revoke(self, m: Any) -> None:
        self.session._read_ready()  # what is in the socket has not begun either
        wanted = {m.tasks[i : i + 16] for i in range(0, len(m.tasks), 16)}
        back = b""
        with self.lock:
            for job in [j for j in self.jobs if j.lease == m.lease and (not wanted or j.task in wanted)]:
                self.jobs.remove(job)
                back += job.task
        self.session.side.queue(pb.KIND_TAKEN_BACK, pb.TakenBack(lease=m.lease, tasks=back).SerializeToString())
        self.session.side.flush()

    def _interrupt(self, m: Any) -> None:
        self.session._read_ready()
        with self.lock:
            # Another thread may have read it and be about to append it: so first the note, then the look.
            while len(self.interrupted) >= _INTERRUPTED:
                del self.interrupted[next(iter(self.interrupted))]
            self.interrupted[m.task] = m.attempt
            job = self.running.get(m.task) or next((j for j in self.jobs if j.task == m.task), None)
            if job is None or job.attempt != m.attempt:
                return
            self.interrupted.pop(m.task, None)
            job.cancelled = True
            with self.credit:
                self.credit.notify_all()
            waiting = job in self.jobs
            if waiting:
                self.jobs.remove(job)
            elif job.loop is not None:
                job.loop.call_soon_threadsafe(_cancel, job)
            elif job.started and job.thread == threading.main_thread().ident and job.template.kind == TASK:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
        if waiting:
            self._answer(job, error=ex.TaskCancelledError("before it began"))


def _end_group() -> None:
    """Ends this process and what it has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _cancel(job: Job) -> None:
    """Cancels a call on its loop. One that has not begun finds out when it does."""
    if job.started:
        job.future.cancel()


class _Gone(Exception):
    """The node told this worker to leave."""


def _terminate() -> None:
    raise ActorExit


def _several(value: Any, n: int, name: str) -> list[Any]:
    if n == 0:
        return []
    values = list(value)
    if len(values) != n:
        raise ValueError(f"Task {name} returned {len(values)} objects, but num_returns={n}.")
    return values


class _NotFound(Exception):
    """There is no function of the name that a program of another language gave."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def unpack(
    sent: Any, portable: bool, argument: Callable[[Any], Any], many: Callable[[Any], list[Any]]
) -> tuple[tuple[Any, ...], dict[str, Any]]:  # fmt: skip
    """The arguments of a call, as the function gets them, of those that were sent."""
    if portable:
        return tuple([many(a) if a.list else argument(a) for a in sent]), {}
    if not sent:
        return (), {}
    packed = argument(sent[0])
    args = packed[0]
    kwargs = packed[1] if len(packed) > 1 else {}
    if len(sent) > 1:
        values = [None, *(argument(a) for a in sent[1:])]
        args = tuple([values[a.index] if type(a) is Slot else a for a in args])
        kwargs = {k: values[v.index] if type(v) is Slot else v for k, v in kwargs.items()}
    return args, kwargs


def by_name(name: str) -> Any:
    """What "module:qualified.name" names."""
    import importlib

    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise _NotFound(f"there is no module {module!r}", f"it is looked for in {sys.path}; PYTHONPATH adds to that") from None
    for part in path.split("."):
        if not hasattr(found, part):
            public = ", ".join(n for n in dir(found) if not n.startswith("_"))
            raise _NotFound(f"{module!r} has no {path!r}", f"it has {public[:500] or 'nothing'}")
        found = getattr(found, part)
    return getattr(found, "_function", None) or getattr(found, "__ray_actor_class__", found)


def lanes() -> tuple[socket.socket, socket.socket]:
    """The sockets to the node that this process was started with: call lane and side lane."""
    call, side = (socket.socket(fileno=int(fd)) for fd in os.environ.pop("WEFT_WORKER").split(","))
    for s in (call, side):
        s.setblocking(True)
        os.set_inheritable(s.fileno(), False)
    return call, side


def run(call: socket.socket, side: socket.socket) -> int:
    """Is a worker until its node has no more use for it."""
    shield.install()
    worker = Worker()
    hello = pb.Hello(version=1, role="worker", language="python", pid=os.getpid(), name="python")
    try:
        session = _state.session = Session(call, side, hello, worker=worker)
        _environment.adopt(session)
        worker.broken = _environment.set_up(session)
        worker.serve()
    except _Gone:
        pass
    except ex.LocalRayletDiedError:
        _end_group()
    except KeyboardInterrupt:
        return 130
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of the user's may still run


def main() -> int:
    return run(*lanes())


if __name__ == "__main__":
    # Under the module's own name, or what tasks import from it would be another.
    from weft._worker import main as start

    sys.exit(start())
