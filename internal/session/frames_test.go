package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// What breaks the protocol ends its connection, and that alone.
func TestBadFrames(t *testing.T) {
	ts := serve(t, Config{})
	bystander, seen := ts.connect(t)
	for _, c := range []struct {
		name   string
		bytes  []byte
		worker bool
		side   bool
		says   string
	}{
		{"unknown kind", []byte{1, 0, 0, 0, 200}, false, false, "a node is not sent 200"},
		{"the node's kind", wire.AppendFrame(nil, sessionv1.Kind_KIND_EXECUTE, nil), false, false, "not sent KIND_EXECUTE"},
		{"a second Hello", hello(1, wire.RoleDriver, ""), false, false, "not sent KIND_HELLO"},
		{"oversized", []byte{1, 0, 0, 4, 1}, false, false, "larger than 64 MiB"},
		{"no kind", []byte{0, 0, 0, 0}, false, false, "no kind"},
		{"not protobuf", []byte{3, 0, 0, 0, byte(sessionv1.Kind_KIND_SUBMIT), 255, 255}, false, false, "cannot be decoded"},
		{"a driver's result", wire.AppendFrame(nil, sessionv1.Kind_KIND_RESULT, nil), false, false, "only workers"},
		{"wrong lane", wire.AppendFrame(nil, sessionv1.Kind_KIND_SUBMIT, nil), false, true, "belongs on the call lane"},
		{"wrong lane too", wire.AppendFrame(nil, sessionv1.Kind_KIND_TAKEN_BACK, nil), true, false, "belongs on the side lane"},
		{"what the handler refuses", wire.AppendFrame(nil, sessionv1.Kind_KIND_PUT, put(13)), false, false, "no thirteen"},
	} {
		connect := ts.connect
		if c.worker {
			connect = ts.worker
		}
		d, r := connect(t)
		r.note(func() { r.onPut = func(*sessionv1.Put) error { return errors.New("no thirteen") } })
		lane := d.call
		if c.side {
			lane = d.side
		}
		if _, err := lane.Write(c.bytes); err != nil {
			t.Fatal(err)
		}
		if err := goodbye(t, d.frames); !errors.Is(err, wire.Protocol) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
		if err := r.closed(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: closed with %v, want %q", c.name, err, c.says)
		}
	}
	bystander.send(t, sessionv1.Kind_KIND_PUT, put(1))
	seen.wait(func() bool { return len(seen.seqs) == 1 })
}

// Frames arrive whole and in order, however the bytes come.
func TestPieces(t *testing.T) {
	ts := serve(t, Config{})
	for _, c := range []struct {
		name  string
		piece int
		sizes []int
	}{
		{"bytes", 1, []int{0, 1, 200, 0}},
		{"odd pieces", 1021, []int{10, 5000, 100, 70_000, 3, readSize - 20, readSize, readSize + 20, 9}},
		{"large", 1 << 20, []int{1, 3 * readSize, 5 << 20, 2, readSize * 2}},
	} {
		d, r := ts.connect(t)
		sizes := make(chan int, len(c.sizes))
		onPut := func(m *sessionv1.Put) error {
			if data := m.Value.GetData(); len(data) == 0 || bytes.Count(data, data[:1]) == len(data) {
				sizes <- len(data)
			}
			return nil
		}
		r.note(func() { r.onPut = onPut })
		var stream []byte
		for i, n := range c.sizes {
			value := &sessionv1.Value{Data: bytes.Repeat([]byte{byte(i)}, n)}
			stream = wire.AppendFrame(stream, sessionv1.Kind_KIND_PUT, &sessionv1.Put{Seq: uint64(i), Value: value})
		}
		for len(stream) > 0 {
			n := min(c.piece, len(stream))
			if _, err := d.call.Write(stream[:n]); err != nil {
				t.Fatalf("%s: %v, %v", c.name, err, r.closed())
			}
			stream = stream[n:]
		}
		for i, want := range c.sizes {
			if got := <-sizes; got != want {
				t.Errorf("%s: frame %d has %d bytes, want %d", c.name, i, got, want)
			}
		}
	}
}

// What a peer said before it left is heard before Closed.
func TestEnds(t *testing.T) {
	ts := serve(t, Config{})
	const n = 5000
	frames := func() (b []byte) {
		for i := range n {
			b = wire.AppendFrame(b, sessionv1.Kind_KIND_PUT, put(uint64(i)))
		}
		return b
	}
	bye := wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE, nil)
	complaint := wire.AppendFrame(nil, sessionv1.Kind_KIND_GOODBYE,
		&sessionv1.Goodbye{Error: wire.ErrorToPB(&wire.Error{Code: wire.OutOfMemory, Message: "too tight here"})})
	for _, c := range []struct {
		name  string
		last  []byte
		check func(error) bool
	}{
		{"goodbye", bye, func(err error) bool { return err == nil }},
		{"complaint", complaint, func(err error) bool { return errors.Is(err, wire.OutOfMemory) }},
		{"EOF", nil, func(err error) bool { return errors.Is(err, io.EOF) && errors.Is(err, wire.Closed) }},
		{"EOF in a frame", []byte{9, 0, 0, 0, 1, 2}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
	} {
		for _, sideFirst := range []bool{false, true} {
			d, r := ts.connect(t)
			if _, err := d.call.Write(append(frames(), c.last...)); err != nil {
				t.Fatal(err)
			}
			if sideFirst {
				_ = d.side.Close()
			}
			_ = d.call.Close()
			err := r.closed()
			if len(r.seqs) != n {
				t.Errorf("%s: %d frames were handled, want %d", c.name, len(r.seqs), n)
			}
			if !c.check(err) && !sideFirst { // or the side lane's end was noticed first
				t.Errorf("%s: closed with %v", c.name, err)
			}
			if r.longest > maxBatch {
				t.Errorf("%s: %d frames without BatchEnd", c.name, r.longest)
			}
			r.conn.Send(sessionv1.Kind_KIND_VALUE, nil) // nothing happens
			r.conn.Flush()
			r.conn.Close(nil)
			r.conn.Wait()
		}
	}
}

func TestClose(t *testing.T) {
	ts := serve(t, Config{})
	for _, reason := range []error{nil, &wire.Error{Code: wire.OutOfMemory, Message: "go away"}} {
		d, r := ts.connect(t)
		r.conn.Close(reason)
		if err := goodbye(t, d.frames); (err == nil) != (reason == nil) || err != nil && !errors.Is(err, wire.OutOfMemory) {
			t.Errorf("got %v, want %v", err, reason)
		}
		if err := r.closed(); !errors.Is(err, reason) {
			t.Errorf("closed with %v, want %v", err, reason)
		}
	}
	d, r := ts.connect(t)
	w, wr := ts.worker(t)
	ts.Close()
	for _, frames := range []*wire.Reader{d.frames, w.frames} {
		if err := goodbye(t, frames); !errors.Is(err, wire.Closed) {
			t.Errorf("got %v", err)
		}
	}
	_, _ = r.closed(), wr.closed()
}

// A peer that does not read fills its socket; the node goes on reading from
// it, and sends the rest when it reads again.
func TestSlowReader(t *testing.T) {
	ts := serve(t, Config{})
	d, r := ts.connect(t)
	const n, size = 1000, 10_000
	for i := range n {
		value := &sessionv1.ObjectValue{Object: binary.BigEndian.AppendUint32(nil, uint32(i)), Value: &sessionv1.Value{Data: make([]byte, size)}}
		r.conn.Send(sessionv1.Kind_KIND_VALUE, value)
		r.conn.Flush()
	}
	if got := r.conn.Buffered(); got < n*size/2 || got > n*(size+100) {
		t.Errorf("%d bytes are buffered", got)
	}
	drained := make(chan int, 1)
	if !r.conn.OnDrain(size, func() { drained <- r.conn.Buffered() }) {
		t.Fatal("drained already")
	}
	d.send(t, sessionv1.Kind_KIND_PUT, put(1))
	r.wait(func() bool { return len(r.seqs) == 1 })
	if len(drained) > 0 {
		t.Error("drained, and nothing was read")
	}
	var value sessionv1.ObjectValue
	for i := range n {
		d.expect(t, sessionv1.Kind_KIND_VALUE, &value)
		if binary.BigEndian.Uint32(value.Object) != uint32(i) || len(value.Value.Data) != size {
			t.Fatalf("value %d is %x with %d bytes", i, value.Object, len(value.Value.Data))
		}
	}
	if got := <-drained; got > size {
		t.Errorf("drained to %d, want %d", got, size)
	}
	if r.conn.OnDrain(0, func() { t.Error("called") }) {
		t.Error("not drained, but all was read")
	}
}

// A peer that never reads is disconnected before it costs too much.
func TestUnreadLimit(t *testing.T) {
	ts := serve(t, Config{MaxUnread: 1 << 20})
	_, r := ts.connect(t)
	value := &sessionv1.ObjectValue{Value: &sessionv1.Value{Data: make([]byte, 100_000)}}
	for range 100 {
		r.conn.Send(sessionv1.Kind_KIND_VALUE, value)
		r.conn.Flush()
	}
	if err := r.closed(); !errors.Is(err, wire.Closed) || !strings.Contains(err.Error(), "unread") {
		t.Errorf("closed with %v", err)
	}
}

// A peer that floods does not keep others from being heard.
func TestFlood(t *testing.T) {
	ts := serve(t, Config{})
	flooder, flooded := ts.connect(t)
	answer := func(*sessionv1.Put) error {
		flooded.conn.Send(sessionv1.Kind_KIND_READY, &sessionv1.Objects{Objects: make([]byte, 20)}) // and nobody reads it
		return nil
	}
	flooded.note(func() { flooded.onPut = answer })
	var flood sync.WaitGroup
	flood.Go(func() {
		var stream []byte
		for i := range 5000 {
			stream = wire.AppendFrame(stream, sessionv1.Kind_KIND_PUT, put(uint64(i)))
		}
		for {
			if _, err := flooder.call.Write(stream); err != nil {
				return
			}
		}
	})
	d, r := ts.connect(t)
	for i := range 40 {
		d.send(t, sessionv1.Kind_KIND_PUT, put(uint64(i)))
		r.wait(func() bool { return len(r.seqs) == i+1 })
	}
	flooder.call.Shutdown()
	flood.Wait()
	flooded.conn.Wait()
}

// Everybody sends on both lanes at once; each sender's frames stay in order.
func TestConcurrentSenders(t *testing.T) {
	ts := serve(t, Config{})
	d, r := ts.connect(t)
	const senders, n = 8, 2000
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range n {
				m := &sessionv1.Log{Pid: uint32(s), Text: binary.BigEndian.AppendUint32(nil, uint32(i))}
				r.conn.Send(sessionv1.Kind_KIND_VALUE, m)
				if i%7 == 0 {
					r.conn.Flush()
				}
				r.conn.SendSide(sessionv1.Kind_KIND_DRIVER_LOG, m)
			}
			r.conn.Flush()
		})
	}
	for _, lane := range []*wire.Socket{d.call, d.side} {
		all.Go(func() {
			frames := wire.NewReader(lane)
			next := make([]uint32, senders)
			for range senders * n {
				_, body, err := frames.Next()
				var m sessionv1.Log
				if err != nil || m.UnmarshalVT(body) != nil {
					t.Errorf("got %v", err)
					return
				}
				if i := binary.BigEndian.Uint32(m.Text); i != next[m.Pid] {
					t.Errorf("sender %d: frame %d came, want %d", m.Pid, i, next[m.Pid])
					return
				}
				next[m.Pid]++
			}
		})
	}
	for i := range n {
		d.send(t, sessionv1.Kind_KIND_PUT, put(uint64(i)))
	}
	all.Wait()
	r.wait(func() bool { return len(r.seqs) == n })
}

// Close may come at any time, from anywhere.
func TestConcurrentClose(t *testing.T) {
	ts := serve(t, Config{})
	for range 50 {
		d, r := ts.connect(t)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for i := range 100 {
					r.conn.Send(sessionv1.Kind_KIND_VALUE, put(uint64(i)))
					r.conn.Flush()
					r.conn.SendSlab(1, 1, false, int(os.Stdin.Fd()))
				}
			})
		}
		all.Go(func() { r.conn.Close(nil) })
		all.Go(func() { _ = d.call.Close() })
		all.Wait()
		r.conn.Wait()
	}
}

// Descriptors arrive in the order of their frames, each once, also when the
// socket was too full to take them at first.
func TestSlabs(t *testing.T) {
	ts := serve(t, Config{})
	d, r := ts.connect(t)
	const n = 50
	for i := range n {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(fd, int64(i)); err != nil {
			t.Fatal(err)
		}
		r.conn.SendSlab(uint32(i), uint64(i), i%2 == 0, fd)
		_ = unix.Close(fd)
		r.conn.SendSide(sessionv1.Kind_KIND_DRIVER_LOG, &sessionv1.Log{Text: make([]byte, 20_000)})
	}
	side := &rightsReader{t: t, fd: d.side.FD()}
	frames := wire.NewReader(side)
	for i := 0; i < n; {
		kind, body, err := frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		if kind != sessionv1.Kind_KIND_SLAB {
			continue
		}
		var slab sessionv1.Slab
		if err := slab.UnmarshalVT(body); err != nil || int(slab.Slab) != i {
			t.Fatalf("slab %d, %v; want %d", slab.Slab, err, i)
		}
		var stat unix.Stat_t
		if err := unix.Fstat(side.fds[0], &stat); err != nil || stat.Size != int64(slab.Size) {
			t.Errorf("slab %d: its descriptor has %d bytes, %v", i, stat.Size, err)
		}
		_ = unix.Close(side.fds[0])
		side.fds = side.fds[1:]
		i++
	}
	if len(side.fds) > 0 {
		t.Errorf("%d descriptors too many", len(side.fds))
	}
}

// A rightsReader reads a lane and collects the descriptors that come with it.
type rightsReader struct {
	t   *testing.T
	fd  int
	fds []int
}

func (r *rightsReader) Read(b []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := unix.Recvmsg(r.fd, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return 0, errors.Join(err, io.EOF)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		r.t.Error(err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			r.t.Error(err)
		}
		r.fds = append(r.fds, fds...)
	}
	return n, nil
}

func TestWorkerFrames(t *testing.T) {
	ts := serve(t, Config{})
	d, r := ts.worker(t)
	d.send(t, sessionv1.Kind_KIND_RESULT, &sessionv1.Result{})
	if _, err := d.side.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_TAKEN_BACK, nil)); err != nil {
		t.Fatal(err)
	}
	r.wait(func() bool { return r.results == 1 && r.taken == 1 })
}

// A worker process that is killed ends its connection.
func TestKilledWorker(t *testing.T) {
	ts := serve(t, Config{})
	call, theirCall, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	side, theirSide, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	process, err := reexec("worker", theirCall, theirSide)
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	greeted := make(chan struct{})
	conn, err := ts.Adopt(call, side, func(*Conn, *sessionv1.Hello) (Handler, *sessionv1.Welcome, error) {
		close(greeted)
		return r, &sessionv1.Welcome{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-greeted
	if err := process.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	conn.Wait()
	if err := r.closed(); !errors.Is(err, io.EOF) {
		t.Errorf("closed with %v", err)
	}
	_ = process.Wait()
}
