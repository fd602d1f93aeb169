"""A session with a node: what crosses the two lanes, and who waits for what.

The schema and the rules of credit are in proto/session. A frame is a little-endian u32 length, a byte of kind, and a
protobuf message.

Waiting. The call lane is read by whoever waits: the first to wait leads, reads frames and hands out what they bring; others
wait until it has theirs, and then one of them leads. When nobody waits but somebody is to be called back (``await``,
``.future()``), the side thread leads; in the worker of an asynchronous actor its event loop does (``reader``), and the side thread
only if user code holds that up. It also reads the side lane, writes what was left to be written, and reports dropped
references. The first submit after a wait goes at once, and those that follow go in company.

Ctrl-C. A signal's handler may raise between any two instructions of the main thread. Bytes are taken from the socket in one
C call that also stores them, and while frames are handled the interrupt is put off (``shield``), so nothing is lost or done
twice.

State. ``entries`` has each object that this process refers to. All of it is changed by the thread that leads, by the one that
submits, and by ``_tidy``; single operations of a dict are atomic, and what needs more is done under ``_lock``.
"""

from __future__ import annotations

import array
import contextlib
import itertools
import os
import select
import signal
import socket
import struct
import threading
import time
import traceback
from collections import deque
from typing import Any, Callable, Optional

from weft import _errors, _frames, _values
from weft import exceptions as ex
from weft._memory import Slabs
from weft._pb import session_pb2 as pb

_HEADER = struct.Struct("<IB")
_RECV = (64 << 10,)  # less than malloc asks the kernel for each time
_FLUSH_AT = 64 << 10  # bytes that are not kept waiting for company
_LINGER = 0.001  # seconds that the side thread lets frames wait for company
_LINGER_DROPPED = 0.01  # and what was dropped
_LENDS_AFTER = 0.01  # seconds that a task waits for room before it lends its CPU
_HELD_UP = 20.0  # milliseconds after which it reads instead of a loop that does not

_VALUE, _EXECUTE, _READY = pb.KIND_VALUE, pb.KIND_EXECUTE, pb.KIND_READY

_HELD = pb.Counts(ids=bytes(20)).SerializeToString()[:-20]  # what comes before an object's id in the Counts of it alone

# States of an Entry.
UNKNOWN, AWAITED, WATCHED, THERE, HERE = range(5)


class Entry:
    """An object as this process knows it."""

    __slots__ = ("asked", "callbacks", "count", "data", "error", "holds", "id", "method", "state", "tag")

    def __init__(self, oid: bytes, state: int, holds: int) -> None:
        self.id = oid
        self.state = state
        self.asked = False  # its value is wanted
        self.count = 0  # ObjectRefs
        self.holds = holds  # references that the node counts for this process
        self.method = False  # an actor's, called in this process, returns it
        self.tag = 0  # of the value, once HERE
        self.data: Any = b""  # its bytes, or a view of shared memory
        self.error: Any = None  # instead of a value: pb.Error or an exception
        self.callbacks: Optional[list[tuple[bool, Callable[[], None]]]] = None  # (the value is wanted, what to call)


class _Shield:
    """Puts Ctrl-C off while a ``with`` of it lasts, in the main thread."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending = False
        self._main = threading.main_thread().ident

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._main:
            self._depth -= 1
            if self._pending and self._depth == 0:
                self._pending = False
                raise KeyboardInterrupt

    def install(self) -> None:
        """Takes the place of Python's own handler of SIGINT, if that is in place."""
        if threading.get_ident() == self._main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, _signum: int, _frame: object) -> None:
        if self._depth:
            self._pending = True
            return
        raise KeyboardInterrupt


shield = _Shield()


class Lane:
    """One socket: frames out, through a buffer, and in."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lock = threading.RLock()
        self._out: list[bytes] = []
        self._size = 0
        self._in: list[bytes] = []

    def queue(self, kind: int, body: bytes) -> int:
        """Adds a frame; returns how many bytes wait."""
        self._out.append(_HEADER.pack(len(body) + 1, kind) + body)
        self._size += len(body) + 5  # about: two threads may count at once
        return self._size

    def flush(self) -> None:
        if not self._out:
            return
        with shield, self.lock:
            n = len(self._out)
            data = b"".join(self._out[:n])
            del self._out[:n]  # others may have added some meanwhile
            self._size = 0
            if data:
                self.sock.sendall(data)

    def receive(self) -> bool:
        """Reads once; False at the end of the stream."""
        self._in.extend(map(self.sock.recv, _RECV))
        return bool(self._in[-1])

    def frames(self) -> list[tuple[int, bytes]]:
        """The whole frames that have come."""
        data = self._in[0] if len(self._in) == 1 else b"".join(self._in)
        out, at, end = [], 0, len(data)
        while end - at >= 5:
            size, kind = _HEADER.unpack_from(data, at)
            stop = at + 4 + size
            if stop > end:
                break
            out.append((kind, data[at + 5 : stop]))
            at = stop
        self._in[:] = [data[at:]] if at < end else []
        return out


class Session:
    """A driver's or worker's connection to its node."""

    def __init__(self, call: socket.socket, side: Optional[socket.socket], hello: Any, address: str = "", worker: Any = None) -> None:
        self.call = Lane(call)
        self.entries: dict[bytes, Entry] = {}
        self.failures = 0  # entries that got an error; who waits for several looks for those of theirs when it changes
        self.streams: dict[bytes, Any] = {}
        self.groups: dict[bytes, Any] = {}  # placement groups that it has asked for, and some that it has removed
        self._kept: set[bytes] = set()
        self.slabs = Slabs()
        self.runtime_env: dict[str, Any] = {}  # of its tasks, unless they say otherwise
        self.detached = False  # whether its actors are, unless they say otherwise
        self.worker = worker  # what takes Execute and its like
        if worker is not None:
            worker.session = self
        self.error: Optional[BaseException] = None
        self.address = address
        self.on_log: Callable[[Any], None] = lambda m: None
        self._lock = threading.RLock()
        self._lead = threading.Lock()
        self.reader: Optional[Callable[[], None]] = None  # tells what leads while nobody waits that it may
        self._changed = threading.Condition()
        self._followers = 0
        self._callbacks = 0
        self._dead: deque[Entry] = deque()
        self._unpins: deque[bytes] = deque()
        self._handles: deque[bytes] = deque()
        self._actors: dict[bytes, list[int]] = {}  # handles in this process, and those that the node counts
        self._answers: dict[int, Any] = {}
        self._requests = itertools.count(1)
        self._templates: dict[bytes, int] = {}
        self._blobs: dict[bytes, bool] = {}
        self._poked = False
        self._dropped = False
        self._tidy_at: Optional[float] = None
        self._calm = True  # somebody has waited since the last submit
        self._woken, self._wake = os.pipe()
        self._greet(hello)
        if side is None:
            side = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            side.connect(address)
        self.side = Lane(side)
        self._fds: deque[int] = deque()
        if not self.info.worker:
            self.side.queue(pb.KIND_ATTACH, pb.Attach(attach=self.info.attach).SerializeToString())
            self.side.flush()
        self.pid = os.getpid()
        self.forked = False  # this is the child of the process whose session it is
        self._thread = threading.Thread(target=self._side_loop, name="weft-side", daemon=True)
        self._thread.start()

    # Beginning and end.

    def _greet(self, hello: Any) -> None:
        self.call.queue(pb.KIND_HELLO, hello.SerializeToString())
        self.call.flush()
        frames: list[tuple[int, bytes]] = []
        while not frames:
            if not self.call.receive():
                raise ConnectionError("the node closed the connection")
            frames = self.call.frames()
        kind, body = frames[0]
        if kind == pb.KIND_GOODBYE:
            raise ConnectionError(_errors.text(pb.Goodbye.FromString(body).error))
        if kind != pb.KIND_WELCOME:
            raise ConnectionError("what listens there is no Weft node")
        self.info = pb.Welcome.FromString(body)
        self._early = frames[1:]
        self._node = bytes(self.info.node)
        self._overhead = self.info.overhead
        self.inline_limit = self.info.inline_limit
        self._seq = itertools.count(self.info.session << 40 | 1)
        self._credit = self.info.submit_credit
        self._put_credit = self.info.put_credit

    def close(self, error: Optional[BaseException] = None) -> None:
        """Ends the session; whoever waits gets ``error``."""
        with self._lock:
            if self.error is not None:
                return
            self.error = error or ex.RaySystemError("the session has been shut down; call weft.init() again")
        try:
            if error is None:
                self.call.queue(pb.KIND_GOODBYE, b"")
                self.call.flush()
        except OSError:
            pass
        for lane in (self.call, self.side):
            try:
                lane.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.slabs.close()
        self._fail_waiting()
        self.poke()

    def _fail_waiting(self) -> None:
        for entry in list(self.entries.values()):
            self._call_back(entry, True)
        for stream in list(self.streams.values()):
            stream.end(self.error)
        with self._changed:
            self._changed.notify_all()

    def join(self) -> None:
        """Waits for the side thread, and closes the sockets."""
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._poked = self._dropped = True  # nobody pokes any more
        os.close(self._wake)
        os.close(self._woken)
        self.call.sock.close()
        self.side.sock.close()

    def leave_to_parent(self) -> None:
        """Lets go of the session in a process that was forked: it is the parent's, and so are its sockets."""
        self.error = ex.RaySystemError("this process was forked from one that uses Weft; call weft.init() in it")
        self.forked = self._poked = self._dropped = True
        for lane in (self.call, self.side):
            lane.sock.close()
        for fd in (self._wake, self._woken):
            with contextlib.suppress(OSError):
                os.close(fd)

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    # Writing.

    def send(self, kind: int, message: Any) -> None:
        """Queues a message; it goes with the next flush, which comes soon by itself."""
        self._send(kind, message.SerializeToString())

    def _send(self, kind: int, body: bytes) -> None:
        self.check()
        if self.call.queue(kind, body) >= _FLUSH_AT:
            self.flush()
        elif not self._poked:
            self.poke()

    def flush(self) -> None:
        try:
            self.call.flush()
        except OSError as error:
            if self.error is None:
                self.close(ex.LocalRayletDiedError(f"the node is gone: {error}; its log says why, and a new weft.init() starts another"))
            raise self.error from None  # type: ignore[misc]

    def poke(self) -> None:
        """Has the side thread look after what was left to it."""
        if not self._poked:
            self._poked = True
            os.write(self._wake, b"x")

    def _poke_dropped(self) -> None:
        """Has it report what was dropped, which is in less of a hurry."""
        if not self._dropped and self.error is None:
            self._dropped = True
            os.write(self._wake, b"x")

    # Waiting.

    def wait_until(self, done: Callable[[], bool], timeout: Optional[float] = None) -> bool:
        """Returns when done() is true, or False after ``timeout`` seconds. Raises when the session is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.flush()
        while not done():
            self.check()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                self._read_ready()
                return done()
            if self._lead.acquire(blocking=False):
                try:
                    self._lead_until(done, left)
                finally:
                    self._give_up_lead()
            else:
                self._follow(done, left)
        return True

    def _give_up_lead(self) -> None:
        """Lets another lead, and tells those who wait for that: they look only when they are told."""
        self._lead.release()
        if self._followers:
            with self._changed:
                self._changed.notify_all()
        if self.reader is not None:  # those who wait may all have what they want
            self.reader()
        elif self._callbacks and not self._followers:
            self.poke()

    def _lead_until(self, done: Callable[[], bool], left: Optional[float]) -> None:
        """Reads until done() or the time is up. The caller leads."""
        self._calm = True
        if left is None:
            while not done() and self.error is None:
                self._read()
            return
        poll = select.poll()
        poll.register(self.call.sock, select.POLLIN)
        deadline = time.monotonic() + left
        while not done() and self.error is None:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(max(left * 1000, 1)):
                return
            self._read()

    def _follow(self, done: Callable[[], bool], left: Optional[float]) -> None:
        with self._changed:
            self._followers += 1
            try:
                self._changed.wait_for(lambda: done() or self.error is not None or not self._lead.locked(), left)
            finally:
                self._followers -= 1

    def _read_ready(self) -> None:
        """Handles what has come, without waiting, unless somebody else reads."""
        if self._lead.acquire(blocking=False):
            try:
                while self.error is None and select.select([self.call.sock], [], [], 0)[0]:
                    self._read()
            finally:
                self._give_up_lead()

    def _read(self) -> None:
        """Reads once and hands out what came. The caller leads."""
        if self._early:
            early, self._early = self._early, []
            self._handle(early)
            return
        try:
            more = self.call.receive()
        except OSError:
            more = False
        with shield:
            if not more:
                self.close(ex.LocalRayletDiedError("the node is gone; its log says why, and a new weft.init() starts another"))
                return
            self._handle(self.call.frames())

    def _handle(self, frames: list[tuple[int, bytes]]) -> None:
        for kind, body in frames:
            if kind == _VALUE:
                self._got_value(body)
            elif kind == _EXECUTE:
                self.worker.execute(pb.Execute.FromString(body))
            elif kind == _READY:
                self._got_ready(pb.Objects.FromString(body).objects)
            elif kind == pb.KIND_GOODBYE:
                self.close(_errors.from_envelope(pb.Goodbye.FromString(body).error, self.loads))
            else:
                self._got_other(kind, body)
        if self._followers:
            with self._changed:
                self._changed.notify_all()

    _REPLIES = {
        pb.KIND_RESERVED: pb.Reserved,
        pb.KIND_FOUND: pb.Found,
        pb.KIND_GROUPED: pb.Grouped,
        pb.KIND_ANSWER: pb.Answer,
        pb.KIND_FETCHED: pb.Fetched,
    }

    def _got_other(self, kind: int, body: bytes) -> None:
        if kind == pb.KIND_ITEM:
            m = pb.Item.FromString(body)
            entry = Entry(m.task + m.index.to_bytes(4, "big"), HERE, 1)
            stream = self.streams.get(m.task)
            if stream is None:
                self._give_back(entry, m.value)
            else:
                self._fill(entry, m.value)
                self.entries[entry.id] = entry
                stream.add(entry)
        elif kind == pb.KIND_STREAM_END:
            m = pb.StreamEnd.FromString(body)
            stream = self.streams.pop(m.task, None)
            if stream is not None:
                stream.end(_errors.from_envelope(m.error, self.loads) if m.HasField("error") else None)
        elif kind in self._REPLIES:
            m = self._REPLIES[kind].FromString(body)
            if m.request in self._answers:
                self._answers[m.request] = m

    def _give_back(self, entry: Entry, value: Any) -> None:
        """Returns an item that nobody wants."""
        if value.HasField("at"):
            self._unpins.append(entry.id)
        entry.count = 1  # which is being dropped
        self.drop(entry)

    # Objects.

    def new_id(self) -> bytes:
        """An id for a task, a put, an actor or a group."""
        seq: int = next(self._seq)
        return self._node + seq.to_bytes(8, "big")

    def adopt(self, oid: bytes) -> Entry:
        """The entry of an object whose reference has arrived in a value."""
        with self._lock:
            entry = self.entries.get(oid)
            if entry is None:
                entry = self.entries[oid] = Entry(oid, UNKNOWN, 1)
                self.call.queue(pb.KIND_HOLD, _HELD + oid)
                if not self._poked:
                    self.poke()
            entry.count += 1
            return entry

    def keep(self, entry: Entry) -> None:
        """Keeps an object for as long as the session: its reference was pickled into something that Weft does not see."""
        with self._lock:
            if entry.id not in self._kept:
                self._kept.add(entry.id)
                entry.count += 1

    def adopt_own(self, oid: bytes) -> Entry:
        """The entry of an object that this session has just sealed."""
        entry = self.entries[oid] = Entry(oid, THERE, 1)
        return entry

    def _got_value(self, body: bytes) -> None:
        small = _frames.small_value(body)
        if small is not None:
            oid, tag, data = small
            entry = self.entries.get(oid)
            if entry is None or entry.state == HERE:
                return
            entry.tag, entry.data = tag, data
        else:
            m = pb.ObjectValue.FromString(body)
            entry = self.entries.get(m.object)
            if entry is None or entry.state == HERE:
                if m.value.HasField("at"):
                    self._unpin(m.object)
                return
            self._fill(entry, m.value)
        entry.state = HERE
        if entry.callbacks:
            self._call_back(entry, True)

    def _fill(self, entry: Entry, value: Any) -> None:
        """Gives an entry its value."""
        entry.tag, entry.data = value.tag, value.data
        if value.HasField("error"):
            self.fail(entry, value.error)
        elif value.HasField("at"):
            oid = entry.id
            entry.data = self.slabs.view(value.at, value.size or value.at.size, lambda: self._unpin(oid))

    def fail(self, entry: Entry, error: Any) -> None:
        """Gives an entry an error: a pb.Error or an exception."""
        entry.error = error
        self.failures += 1

    def _unpin(self, oid: bytes) -> None:
        self._unpins.append(oid)
        self._poke_dropped()

    def _got_ready(self, ids: bytes) -> None:
        wanted = b""
        for i in range(0, len(ids), 20):
            entry = self.entries.get(ids[i : i + 20])
            if entry is None or entry.state >= THERE:
                continue
            entry.state = THERE
            if entry.asked:
                wanted += entry.id
            if entry.callbacks:
                self._call_back(entry, False)
        if wanted:
            self.call.queue(pb.KIND_GET, pb.Objects(objects=wanted).SerializeToString())
            self.flush()

    def _call_back(self, entry: Entry, value: bool) -> None:
        """Calls what waits for the entry: all, or what does not want its value."""
        with self._lock:
            callbacks, entry.callbacks = entry.callbacks or [], None
            later = [] if value else [c for c in callbacks if c[0]]
            if later:
                entry.callbacks = later
            now = callbacks if value else [c for c in callbacks if not c[0]]
            self._callbacks -= len(now)
        for _, call in now:
            try:
                call()
            except Exception:  # of the user's: whoever leads goes on
                traceback.print_exc()

    def want(self, entries: list[Entry]) -> None:
        """Asks for values."""
        ids = []
        for e in entries:
            if e.state == HERE or e.asked:
                continue
            e.asked = True
            if e.state != AWAITED:  # an awaited one comes by itself, or is asked for when it is ready
                ids.append(e.id)
        for i in range(0, len(ids), 10_000):
            self.call.queue(pb.KIND_GET, pb.Objects(objects=b"".join(ids[i : i + 10_000])).SerializeToString())

    def watch(self, entries: list[Entry]) -> None:
        """Asks to be told when objects are there."""
        ids = []
        for e in entries:
            if e.state == UNKNOWN and not e.asked:
                e.state = WATCHED
                ids.append(e.id)
        for i in range(0, len(ids), 10_000):
            self.call.queue(pb.KIND_WATCH, pb.Objects(objects=b"".join(ids[i : i + 10_000])).SerializeToString())

    def on_ready(self, entry: Entry, call: Callable[[], None], value: bool) -> None:
        """Has ``call`` called, by whichever thread leads, when the object is there: with its value, if that is wanted."""
        with self._lock:
            if entry.state != HERE and (value or entry.state != THERE) and self.error is None:
                if entry.callbacks is None:
                    entry.callbacks = []
                entry.callbacks.append((value, call))
                self._callbacks += 1
                self.want([entry]) if value else self.watch([entry])
                self.poke()
                return
        call()

    def result(self, entry: Entry) -> Any:
        """The value of an entry that is HERE; raises its error."""
        if entry.state != HERE:
            self.check()
        if entry.error is not None:
            raise entry.error if isinstance(entry.error, BaseException) else _errors.from_envelope(entry.error, self.loads)
        return _values.decode(entry.tag, entry.data)

    def loads(self, data: bytes) -> Any:
        return _values.decode(_values.PICKLE, data)

    def put(self, value: Any) -> Entry:
        """Makes value an object."""
        return self.put_encoded(_values.encode(value))

    def put_encoded(self, encoded: _values.Encoded) -> Entry:
        """Makes an encoded value an object."""
        seq = next(self._seq)
        entry = Entry(self._node + seq.to_bytes(8, "big") + b"\0\0\0\0", THERE, 1)
        if encoded.size <= self.inline_limit and self._put_credit > 0:
            entry.tag, entry.data, entry.state = encoded.tag, encoded.data(), HERE
            self.charge_put(len(entry.data))
            self._send(pb.KIND_PUT, _frames.put(seq, _frames.value(encoded.tag, entry.data, encoded.refs)))
        else:
            reservation = self.reserve(encoded, b"")
            self.send(pb.KIND_SEAL, pb.Seal(reservation=reservation, seq=seq, size=encoded.size, tag=encoded.tag, refs=encoded.refs))
        self.entries[entry.id] = entry
        return entry

    def charge_put(self, size: int) -> None:
        if self._overhead:
            with self._lock:
                self._put_credit -= size + 64 + self._overhead
        else:
            self._put_credit = 1

    def reserve(self, encoded: _values.Encoded, task: bytes) -> int:
        """Waits for room in shared memory, writes the value there, and returns the reservation."""
        if self._dead:
            self._tidy()  # there may be the room
        reply = self.ask(pb.KIND_RESERVE, pb.Reserve(size=max(encoded.size, 1), task=task))
        encoded.write(self.slabs.room(reply.at))
        reservation: int = reply.reservation
        return reservation

    # Requests.

    def ask(self, kind: int, message: Any) -> Any:
        """Sends a message with a request number and waits for its answer."""
        number = message.request = next(self._requests)
        self._answers[number] = None
        try:
            self.send(kind, message)
            self._await_answer(number, kind == pb.KIND_RESERVE)
            reply = self._answers[number]
        finally:
            del self._answers[number]
        if reply.HasField("error"):
            raise _errors.from_envelope(reply.error, self.loads)
        return reply

    def _await_answer(self, number: int, lends: bool) -> None:
        """With ``lends`` the running task lends its CPU if that takes longer than an answer does."""

        def answered() -> bool:
            return self._answers[number] is not None

        if not self.wait_until(answered, _LENDS_AFTER if lends and self.worker is not None else None):
            with self.blocked():
                self.wait_until(answered)

    def blocked(self, entries: Any = ()) -> Any:
        """A context in which the running task, if there is one, lends its CPU to others."""
        return self.worker.blocked(entries) if self.worker is not None else contextlib.nullcontext()

    # Tasks.

    def template(self, template: Any) -> int:
        """The number under which the node knows a description; it is told the first time."""
        text = template.SerializeToString(deterministic=True)
        number = self._templates.get(text)
        if number is None:
            with self._lock:
                number = self._templates.get(text)
                if number is None:
                    number = len(self._templates) + 1
                    if number > 60_000:
                        raise ex.RaySystemError("more than 60,000 different functions and options in one session; use the same options objects")
                    named = pb.Template()
                    named.CopyFrom(template)
                    named.id = number
                    self.call.queue(pb.KIND_TEMPLATE, named.SerializeToString())
                    self._templates[text] = number
        return number

    def blob(self, digest: bytes, data: bytes, refs: bytes) -> None:
        """Has the node keep code."""
        if digest not in self._blobs:
            self.send(pb.KIND_BLOB, pb.Blob(hash=digest, data=data, refs=refs))
            self._blobs[digest] = True

    def submit(self, prefix: bytes, args: bytes, returns: int, kind: int = pb.KIND_SUBMIT) -> tuple[bytes, list[Entry]]:
        """Submits a task: ``prefix`` is the part of its Submit that all calls share. Returns its id and its returns."""
        self.check()
        seq = next(self._seq)
        tid = self._node + seq.to_bytes(8, "big")
        body = _frames.submit(prefix, seq, args)
        if self._credit <= 0:
            self._await_credit()
        entries = []
        for i in range(returns):
            oid = tid + i.to_bytes(4, "big")
            entry = self.entries[oid] = Entry(oid, AWAITED, 1)
            entries.append(entry)
        if self._overhead:
            with self._lock:
                self._credit -= len(body) + self._overhead
        if self.call.queue(kind, body) >= _FLUSH_AT or self._calm:
            self._calm = False
            self.flush()
        elif not self._poked:
            self.poke()
        return tid, entries

    def _await_credit(self) -> None:
        if not self._overhead:
            return
        with self.blocked():
            self.flush()
            with self._changed:
                self._changed.wait_for(lambda: self._credit > 0 or self.error is not None)
        self.check()

    # Dropping.

    def drop(self, entry: Entry) -> None:
        """An ObjectRef is gone. For finalisers: takes no lock."""
        self._dead.append(entry)
        if not self._dropped:
            self._poke_dropped()

    def drop_handle(self, actor: bytes) -> None:
        self._handles.append(actor)
        self._poke_dropped()

    def add_handle(self, actor: bytes, counted: int) -> None:
        """A handle was made; the node counts ``counted`` already, else it is told."""
        with self._lock:
            counts = self._actors.setdefault(actor, [0, 0])
            counts[0] += 1
            counts[1] += counted
            if counts[1] == 0:
                counts[1] = 1
                self.call.queue(pb.KIND_HANDLE, pb.Counts(ids=actor, n=[1]).SerializeToString())

    def share_handle(self, actor: bytes) -> None:
        """A handle leaves this process in a value: it is held as long as this session."""
        with self._lock:
            counts = self._actors.setdefault(actor, [0, 0])
            counts[0] += 1
            if counts[1] == 0:
                counts[1] = 1
                self.call.queue(pb.KIND_HANDLE, pb.Counts(ids=actor, n=[1]).SerializeToString())

    def _tidy(self) -> None:
        """Reports what was dropped."""
        self._dropped, self._tidy_at = False, None
        drops, counts, unpins = [], [], []
        with self._lock:
            while self._dead:
                entry = self._dead.popleft()
                entry.count -= 1
                if entry.count <= 0 and self.entries.get(entry.id, entry) is entry:
                    self.entries.pop(entry.id, None)
                    if entry.holds:
                        drops.append(entry.id)
                        counts.append(entry.holds)
            while self._unpins:
                unpins.append(self._unpins.popleft())
            while self._handles:
                actor = self._handles.popleft()
                held = self._actors.get(actor)
                if held is not None:
                    held[0] -= 1
                    if held[0] == 0:
                        del self._actors[actor]
                        self.call.queue(pb.KIND_HANDLE, pb.Counts(ids=actor, n=[-held[1]]).SerializeToString())
        if unpins:
            self.call.queue(pb.KIND_UNPIN, pb.Counts(ids=b"".join(unpins)).SerializeToString())
        if drops:
            self.call.queue(pb.KIND_DROP, pb.Counts(ids=b"".join(drops), n=counts).SerializeToString())

    # The side thread.

    def _side_loop(self) -> None:
        poll = select.poll()
        side, call = self.side.sock.fileno(), self.call.sock.fileno()
        poll.register(side, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        try:
            while self.error is None:
                leads = self._callbacks > 0 and not self._followers and self.reader is None and self._lead.acquire(blocking=False)
                try:
                    if leads:
                        poll.register(call, select.POLLIN)
                    ready = {fd for fd, _ in poll.poll(self._patience())}
                    if leads:
                        poll.unregister(call)
                        if call in ready:
                            self._read()
                finally:
                    if leads:
                        self._give_up_lead()
                if not ready and self._callbacks:
                    self._read_ready()
                if side in ready and not self._read_side():
                    break
                if self._woken in ready:
                    self._look_after()
                if self._until_tidy() == 0:
                    self._tidy()
                    self.flush()
        except Exception as error:
            if self.error is None:
                self.close(ex.RaySystemError(f"the session's thread failed: {error!r}"))
        finally:
            for fd in self._fds:
                os.close(fd)
            if self.worker is not None:
                self.worker.on_end()

    def _look_after(self) -> None:
        os.read(self._woken, 64)
        if self._dropped and self._tidy_at is None:
            self._tidy_at = time.monotonic() + _LINGER_DROPPED
        if self._poked:
            if not self._callbacks:
                time.sleep(_LINGER)
            self._poked = False
            if self.error is None:
                self.flush()

    def _patience(self) -> Optional[float]:
        """Milliseconds that the side thread may sleep for; None is for ever."""
        tidy = self._until_tidy()
        if self.reader is None or not self._callbacks:
            return tidy
        return _HELD_UP if tidy is None else min(tidy, _HELD_UP)

    def _until_tidy(self) -> Optional[float]:
        """Milliseconds until what was dropped is reported; None if nothing was."""
        return None if self._tidy_at is None else max(0.0, (self._tidy_at - time.monotonic()) * 1000)

    def _read_side(self) -> bool:
        try:
            data, ancillary, _, _ = self.side.sock.recvmsg(64 << 10, socket.CMSG_SPACE(16 * 4), socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                self._fds.extend(fds)
        if not data:
            return False
        self.side._in.append(data)
        for frame in self.side.frames():
            self._got_side(*frame)
        return True

    def _got_side(self, kind: int, body: bytes) -> None:
        if kind == pb.KIND_SLAB:
            m = pb.Slab.FromString(body)
            self.slabs.announce(m.slab, m.size, m.writable, self._fds.popleft())
        elif kind == pb.KIND_CREDIT and not (m := pb.Credit.FromString(body)).task:
            with self._lock:
                self._credit += m.bytes
                self._put_credit += m.puts
            with self._changed:
                self._changed.notify_all()
        elif kind == pb.KIND_DRIVER_LOG:
            self.on_log(pb.Log.FromString(body))
        elif kind == pb.KIND_GOODBYE:
            self.close(_errors.from_envelope(pb.Goodbye.FromString(body).error, self.loads))
        elif self.worker is not None:
            self.worker.on_side(kind, body)
