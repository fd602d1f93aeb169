package remote

import (
	"bufio"
	"net"
	"os"
	"sync"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/slab"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// maxChunk is how many bytes of a value are in one message: a wire.Reader copies
// none of it.
const maxChunk = 60 << 10

// session is a driver, as its Gateway sees it: on one side a link, on the other
// the two sockets of a driver's session with the node.
type session struct {
	g       *Gateway
	link    *link
	token   string
	role    token.Role
	secret  string
	hash    []byte // of the program
	program *incoming
	slabs   *slab.Mappings
	down    sync.WaitGroup // who read from the node

	connecting sync.Mutex // from one connection's end until the next is attached

	mu    sync.Mutex
	conns int         // 1, or 0, or for a moment 2
	away  *time.Timer // ends the session
	rooms map[uint64]*room

	call    *wire.Socket // nil before Hello
	side    *wire.Socket // nil before Welcome
	writing sync.Mutex   // of call
}

// room is a reservation in the node's memory.
type room struct {
	mem  []byte
	file *slab.Mapped
	at   int
}

func newSession(g *Gateway, shown string, role token.Role, secret string) *session {
	s := &session{g: g, link: newLink(), token: shown, role: role, secret: secret, slabs: slab.NewMappings(), rooms: map[uint64]*room{}}
	s.away = time.AfterFunc(g.cfg.Resume, s.expire)
	return s
}

// connected serves a connection until it fails.
func (s *session) connected(conn net.Conn, r *bufio.Reader, open *sessionv1.Open) {
	if !s.attach(conn, open) {
		return
	}
	s.mu.Lock()
	s.conns++
	s.away.Stop()
	s.mu.Unlock()
	err := s.link.carry(conn, wire.NewReader(r))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns--; s.conns == 0 {
		s.g.cfg.Log.Info("a driver from outside is cut off", "error", err)
		s.away.Reset(s.g.cfg.Resume)
	}
}

// attach answers Open.
func (s *session) attach(conn net.Conn, open *sessionv1.Open) bool {
	s.connecting.Lock()
	defer s.connecting.Unlock()
	got := s.link.take()
	answer := &sessionv1.Opened{Session: []byte(s.secret), Call: got[callLane], Side: got[sideLane], Program: true,
		ResumeMs: uint32(s.g.cfg.Resume.Milliseconds())}
	if len(open.Session) == 0 && len(open.Program) > 0 && s.role != token.Reader {
		s.hash = open.Program
		answer.Program = s.g.programs.has(s.hash)
	}
	if _, err := conn.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_OPENED, answer)); err != nil {
		return false
	}
	_ = conn.SetDeadline(time.Time{})
	return s.link.attach(conn, [2]uint64{open.Call, open.Side}) == nil
}

func (s *session) expire() {
	s.link.end(&wire.Error{Code: wire.Closed, Op: "session", Message: "the driver did not come back"})
}

// run is the session's life: it hands on what the driver sends.
func (s *session) run() {
	defer s.g.forget(s)
	for {
		kind, body, err := s.link.receive(callLane)
		if err == nil {
			err = s.fromDriver(kind, body)
		}
		if err != nil {
			s.link.finish(err)
			break
		}
		if kind == sessionv1.Kind_KIND_GOODBYE {
			break
		}
	}
	s.close()
}

// close gives up what the session has. The node ends what is the driver's.
func (s *session) close() {
	s.mu.Lock()
	s.away.Stop()
	s.mu.Unlock()
	if s.call != nil {
		s.call.Shutdown()
	}
	s.slabs.Close()
	s.down.Wait()
	s.link.end(errOver)
	s.program.discard()
	for _, r := range s.rooms {
		s.slabs.GiveBack(r.file)
	}
	if s.call != nil {
		_ = s.call.Close()
	}
}

var errOver = &wire.Error{Code: wire.Closed, Op: "session", Message: "the session has ended"}

func (s *session) fromDriver(kind sessionv1.Kind, body []byte) error {
	if err := permit(s.role, kind, body); err != nil {
		return err
	}
	switch kind {
	case sessionv1.Kind_KIND_HELLO:
		return s.hello(body)
	case sessionv1.Kind_KIND_CHUNK:
		var m sessionv1.Chunk
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return err
		}
		return s.chunk(&m)
	case sessionv1.Kind_KIND_SEAL:
		var m sessionv1.Seal
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return err
		}
		s.leaveRoom(m.Reservation)
	case sessionv1.Kind_KIND_ABORT:
		var m sessionv1.Abort
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return err
		}
		s.leaveRoom(m.Reservation)
	}
	return s.toNode(wire.AppendBody(nil, kind, body))
}

// chunk takes a part of a value, or of the program.
func (s *session) chunk(m *sessionv1.Chunk) (err error) {
	if m.Reservation == 0 {
		s.program, _, err = s.g.programs.receive(s.program, s.hash, m)
		return err
	}
	s.mu.Lock()
	r := s.rooms[m.Reservation]
	s.mu.Unlock()
	if r == nil || len(m.Data) > len(r.mem)-r.at {
		return &wire.Error{Code: wire.Protocol, Message: "a chunk that fits no reservation"}
	}
	r.at += copy(r.mem[r.at:], m.Data)
	return nil
}

func (s *session) leaveRoom(reservation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[reservation]; r != nil {
		delete(s.rooms, reservation)
		s.slabs.GiveBack(r.file)
	}
}

// hello begins the session with the node, with what there is on this machine in
// the place of what the driver has on its own.
func (s *session) hello(body []byte) (err error) {
	var m sessionv1.Hello
	if err := m.UnmarshalVT(body); err != nil {
		return err
	}
	if s.call != nil || s.program != nil {
		return &wire.Error{Code: wire.Protocol, Message: "Hello comes once, after the program"}
	}
	if m.Programs == nil {
		m.Programs = map[string]string{}
	}
	delete(m.Programs, wire.Go)
	if s.hash != nil {
		m.Programs[wire.Go] = s.g.programs.path(s.hash)
	}
	if m.Language == wire.Python {
		m.Entrypoint = s.interpreter(m.Entrypoint)
	} else {
		m.Programs[wire.Python] = s.interpreter(m.Programs[wire.Python])
	}
	if s.call, err = wire.DialSocket(s.g.cfg.Socket, 0); err != nil {
		return err
	}
	s.down.Go(s.readCalls)
	return s.toNode(wire.AppendFrame(nil, sessionv1.Kind_KIND_HELLO, &m))
}

func (s *session) interpreter(driver string) string {
	if _, err := os.Stat(driver); err != nil && s.g.cfg.Python != "" {
		return s.g.cfg.Python
	}
	return driver
}

func (s *session) toNode(frame []byte) error {
	if s.call == nil {
		return &wire.Error{Code: wire.Protocol, Message: "the first message is no Hello"}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.call.Write(frame)
	return err
}

// readCalls hands on what the node says on the call lane.
func (s *session) readCalls() {
	r := wire.NewReader(s.call)
	for {
		kind, body, err := r.Next()
		if err != nil {
			s.link.finish(&wire.Error{Code: wire.Closed, Op: "session", Message: "the node is gone", Err: err})
			break
		}
		if kind == sessionv1.Kind_KIND_GOODBYE {
			s.link.finish(goodbyeError(body))
			break
		}
		if err := s.fromNode(kind, body); err != nil {
			s.link.finish(err)
			break
		}
	}
	s.call.Shutdown()
	if s.side != nil {
		s.side.Shutdown()
	}
}

func goodbyeError(body []byte) error {
	var g sessionv1.Goodbye
	if err := g.UnmarshalVT(body); err != nil || g.Error == nil {
		return errOver
	}
	return wire.ErrorFromPB(g.Error)
}

func (s *session) fromNode(kind sessionv1.Kind, body []byte) error {
	switch kind {
	case sessionv1.Kind_KIND_VALUE:
		var m sessionv1.ObjectValue
		if err := m.UnmarshalVTUnsafe(body); err != nil || m.Value.GetAt() == nil {
			return s.forward(kind, body, err)
		}
		o, err := wire.ReadObject(m.Object)
		if err == nil {
			err = s.value(o, m.Value)
		}
		return s.then(err, kind, &m)
	case sessionv1.Kind_KIND_ITEM:
		var m sessionv1.Item
		if err := m.UnmarshalVTUnsafe(body); err != nil || m.Value.GetAt() == nil {
			return s.forward(kind, body, err)
		}
		t, err := wire.ReadTask(m.Task)
		if err == nil {
			err = s.value(t.Return(m.Index), m.Value)
		}
		return s.then(err, kind, &m)
	case sessionv1.Kind_KIND_RESERVED:
		var m sessionv1.Reserved
		if err := m.UnmarshalVT(body); err != nil || m.At == nil {
			return s.forward(kind, body, err)
		}
		return s.then(s.enterRoom(&m), kind, &m)
	case sessionv1.Kind_KIND_WELCOME:
		return s.forward(kind, body, s.attachSide(body))
	}
	return s.forward(kind, body, nil)
}

func (s *session) forward(kind sessionv1.Kind, body []byte, err error) error {
	if err != nil {
		return err
	}
	return s.link.pass(kind, body)
}

func (s *session) then(err error, kind sessionv1.Kind, m wire.Message) error {
	if err != nil {
		return err
	}
	return s.link.send(kind, m)
}

// value sends the bytes of a value in the node's memory, which it unpins.
func (s *session) value(o id.Object, v *sessionv1.Value) error {
	at := v.At
	v.At = &sessionv1.Location{Size: at.Size}
	mem, file, err := s.slabs.Lend(at.Slab, int64(at.Offset), int64(at.Size), false)
	if err != nil {
		return err
	}
	err = sendChunks(s.link, 0, mem)
	s.slabs.GiveBack(file)
	if err != nil {
		return err
	}
	return s.toNode(wire.AppendFrame(nil, sessionv1.Kind_KIND_UNPIN, &sessionv1.Counts{Ids: o[:]}))
}

// sendChunks sends the bytes of a value.
func sendChunks(l *link, reservation uint64, mem []byte) error {
	for rest := mem; len(rest) > 0; {
		n := min(len(rest), maxChunk)
		if err := l.send(sessionv1.Kind_KIND_CHUNK, &sessionv1.Chunk{Size: uint64(len(mem)), Data: rest[:n], Reservation: reservation}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// enterRoom notes a reservation, whose bytes will come as chunks.
func (s *session) enterRoom(m *sessionv1.Reserved) error {
	mem, file, err := s.slabs.Lend(m.At.Slab, int64(m.At.Offset), int64(m.At.Size), true)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms[m.Reservation] = &room{mem: mem, file: file}
	m.At = &sessionv1.Location{Size: m.At.Size}
	return nil
}

// attachSide opens the side lane with the secret of Welcome.
func (s *session) attachSide(welcome []byte) error {
	var m sessionv1.Welcome
	if err := m.UnmarshalVT(welcome); err != nil {
		return err
	}
	side, err := wire.DialSocket(s.g.cfg.Socket, 0)
	if err != nil {
		return err
	}
	fds, err := wire.NewFDReader(side)
	if err == nil {
		_, err = side.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_ATTACH, &sessionv1.Attach{Attach: m.Attach}))
	}
	if err != nil {
		_ = side.Close()
		return err
	}
	s.side = side
	s.down.Go(func() {
		s.readSide(fds)
		_ = side.Close()
	})
	return nil
}

// readSide hands on what the node says on the side lane, but for its memory.
func (s *session) readSide(fds *wire.FDReader) {
	defer fds.Close()
	r := wire.NewReader(fds)
	for {
		kind, body, err := r.Next()
		if err != nil {
			return // the call lane says why
		}
		if kind == sessionv1.Kind_KIND_SLAB {
			var m sessionv1.Slab
			fd, failed := fds.Claim()
			if err = failed; err == nil {
				if err = m.UnmarshalVT(body); err == nil {
					s.slabs.Announce(m.Slab, int64(m.Size), m.Writable, fd)
				}
			}
		} else {
			err = s.link.pass(kind, body)
		}
		if err != nil {
			s.call.Shutdown()
			return
		}
	}
}
