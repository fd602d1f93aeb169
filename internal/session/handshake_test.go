package session

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

func hello(version uint32, role, name string) []byte {
	return wire.AppendFrame(nil, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: version, Role: role, Name: name})
}

// Each of these is told what is wrong, and others do not notice.
func TestRefusedGreetings(t *testing.T) {
	ts := serve(t, Config{})
	bystander, seen := ts.connect(t)
	for _, c := range []struct {
		name  string
		bytes []byte
		code  wire.Code
		says  string
	}{
		{"version 0", hello(0, wire.RoleDriver, ""), wire.Protocol, "speaks version 0"},
		{"a worker", hello(1, wire.RoleWorker, ""), wire.Protocol, `the role is "worker"`},
		{"no role", hello(1, "", ""), wire.Protocol, "role"},
		{"unwanted", hello(1, wire.RoleDriver, "unwanted"), wire.Unauthenticated, "not you"},
		{"another frame", wire.AppendFrame(nil, sessionv1.Kind_KIND_SUBMIT, nil), wire.Protocol, "want Hello or Attach"},
		{"wrong secret", wire.AppendFrame(nil, sessionv1.Kind_KIND_ATTACH, &sessionv1.Attach{Attach: []byte("guess")}),
			wire.Unauthenticated, "no session waits"},
		{"no secret", wire.AppendFrame(nil, sessionv1.Kind_KIND_ATTACH, nil), wire.Unauthenticated, "no session waits"},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), wire.Protocol, "larger than"},
		{"an empty frame", []byte{0, 0, 0, 0}, wire.Protocol, "no kind"},
		{"a large frame", []byte{0, 0, 2, 0, 1}, wire.Protocol, "first frame of"},
		{"not protobuf", []byte{5, 0, 0, 0, 1, 255, 255, 255, 255}, wire.Protocol, "cannot be decoded"},
	} {
		d := dialCall(t, ts.path)
		if _, err := d.call.Write(c.bytes); err != nil {
			t.Fatal(err)
		}
		if err := goodbye(t, d.frames); !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %v with %q", c.name, err, c.code, c.says)
		}
	}
	bystander.send(t, sessionv1.Kind_KIND_PUT, put(1))
	seen.wait(func() bool { return len(seen.seqs) == 1 })
}

// A newer program and this node speak the node's version.
func TestVersion(t *testing.T) {
	ts := serve(t, Config{})
	d := dialCall(t, ts.path)
	d.send(t, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: wire.Version + 7, Role: wire.RoleDriver})
	var welcome sessionv1.Welcome
	d.expect(t, sessionv1.Kind_KIND_WELCOME, &welcome)
	if welcome.Version != wire.Version || len(welcome.Attach) < 16 || welcome.Session != 1 {
		t.Errorf("got %v", &welcome)
	}
}

func TestSecretServesOnce(t *testing.T) {
	ts := serve(t, Config{})
	d := dialCall(t, ts.path)
	d.send(t, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: 1, Role: wire.RoleDriver})
	var welcome sessionv1.Welcome
	d.expect(t, sessionv1.Kind_KIND_WELCOME, &welcome)
	r := <-ts.drivers
	r.conn.SendSide(sessionv1.Kind_KIND_EXIT, &sessionv1.Exit{Reason: "before the lane was there"})
	first := wire.NewReader(dialSide(t, ts.path, welcome.Attach))
	if kind, _, err := first.Next(); kind != sessionv1.Kind_KIND_EXIT {
		t.Errorf("got %s, %v", kind, err)
	}
	second := wire.NewReader(dialSide(t, ts.path, welcome.Attach))
	if err := goodbye(t, second); !errors.Is(err, wire.Unauthenticated) {
		t.Errorf("got %v", err)
	}
}

// Who is slow to say Hello or to attach is shown out, and makes room.
func TestHandshakeDeadline(t *testing.T) {
	ts := serve(t, Config{HandshakeTimeout: short, MaxHandshakes: 2})
	silent := dialCall(t, ts.path)
	half := dialCall(t, ts.path)
	half.send(t, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: 1, Role: wire.RoleDriver})
	waiting := dialCall(t, ts.path) // in the system's queue
	for _, d := range []*testDriver{silent, half, waiting} {
		if err := goodbye(t, d.frames); !errors.Is(err, wire.Timeout) {
			t.Errorf("got %v", err)
		}
	}
	if err := (<-ts.drivers).closed(); !errors.Is(err, wire.Timeout) {
		t.Errorf("closed with %v", err)
	}
}

func TestMaxConns(t *testing.T) {
	ts := serve(t, Config{MaxConns: 3})
	ts.connect(t)
	one := dialCall(t, ts.path)
	one.send(t, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: 1, Role: wire.RoleDriver})
	one.expect(t, sessionv1.Kind_KIND_WELCOME, new(sessionv1.Welcome))
	if err := goodbye(t, dialCall(t, ts.path).frames); !strings.Contains(err.Error(), "its limit") {
		t.Errorf("got %v", err)
	}
	_ = one.call.Close()
	(<-ts.drivers).conn.Wait()
	ts.worker(t) // workers have no such limit
}

func TestManyDriversAtOnce(t *testing.T) {
	ts := serve(t, Config{MaxHandshakes: 3})
	var ends []*recorder
	for range 40 {
		_, r := ts.connect(t)
		ends = append(ends, r)
	}
	ts.Close()
	for _, r := range ends {
		if err := r.closed(); !errors.Is(err, wire.Closed) {
			t.Errorf("closed with %v", err)
		}
	}
}

func TestSocketFile(t *testing.T) {
	ts := serve(t, Config{})
	info, err := os.Stat(ts.path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	other, err := NewServer(Config{Accept: ts.accept})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Listen(ts.path); !errors.Is(err, wire.AlreadyExists) {
		t.Errorf("a second node: %v", err)
	}
	if err := other.Listen("/tmp/" + strings.Repeat("x", 200)); !errors.Is(err, wire.Invalid) {
		t.Errorf("a long path: %v", err)
	}
	if err := other.Listen("/nonexistent/node"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	stale := filepath.Join(t.TempDir(), "stale")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: stale}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	if err := other.Listen(stale); err != nil {
		t.Errorf("a socket left behind: %v", err)
	}
	dial(t, stale)
	other.Close()
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if err := other.Listen(stale); !errors.Is(err, wire.Closed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestExecutable(t *testing.T) {
	ts := serve(t, Config{})
	d, r := ts.connect(t)
	exe, err := r.conn.Executable()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = exe.Close() }()
	got, err := exe.Stat()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat("/proc/self/exe")
	if err != nil || !os.SameFile(got, want) {
		t.Errorf("another file: %v", err)
	}
	if _, err := io.CopyN(io.Discard, exe, 4); err != nil {
		t.Error(err)
	}
	if p := r.conn.Peer(); p.PID != os.Getpid() || p.UID != os.Getuid() {
		t.Errorf("peer: %+v", p)
	}
	_ = d.call.Close()
	r.conn.Wait()
	if _, err := r.conn.Executable(); err == nil {
		t.Error("open after the end")
	}
	w, wr := ts.worker(t)
	if _, err := wr.conn.Executable(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a worker's: %v", err)
	}
	_ = w
}

func TestAdoptAfterClose(t *testing.T) {
	ts := serve(t, Config{})
	ts.Close()
	d, call, side := workerLanes(t)
	if _, err := ts.Adopt(call, side, nil); !errors.Is(err, wire.Closed) {
		t.Errorf("got %v", err)
	}
	if _, _, err := d.frames.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the lane is open: %v", err)
	}
}

// A worker that ends before Hello closes its Conn without a Handler.
func TestUngreetedWorker(t *testing.T) {
	ts := serve(t, Config{})
	d, call, side := workerLanes(t)
	c, err := ts.Adopt(call, side, ts.accept)
	if err != nil {
		t.Fatal(err)
	}
	_ = d.side.Close()
	c.Wait()
	if len(ts.drivers) > 0 {
		t.Error("it was accepted")
	}
}
