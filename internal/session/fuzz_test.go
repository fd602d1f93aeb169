package session

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// Whatever somebody writes to the node's socket, before or after Hello and on
// either lane, ends at most that connection; others are served on.
func FuzzConnection(f *testing.F) {
	task := make([]byte, 16)
	valid := wire.AppendFrame(nil, sessionv1.Kind_KIND_SUBMIT, &sessionv1.Submit{Template: 1, Seq: 1, Args: []*sessionv1.Arg{{Object: task}}})
	valid = wire.AppendFrame(valid, sessionv1.Kind_KIND_PUT, put(1))
	valid = wire.AppendFrame(valid, sessionv1.Kind_KIND_BLOCKED, &sessionv1.TaskRef{Task: task})
	greeting := hello(wire.Version, wire.RoleDriver, "x")
	for _, bytes := range [][]byte{nil, valid, valid[:len(valid)-1], valid[:3], greeting, greeting[:len(greeting)-1],
		hello(99, "", ""), {0, 0, 0, 0}, {1, 0, 0, 0, 200}, {1, 0, 0, 4, 1}, []byte("GET / HTTP/1.1\r\n\r\n"),
		wire.AppendFrame(nil, sessionv1.Kind_KIND_ATTACH, &sessionv1.Attach{Attach: []byte("guess")}),
		wire.AppendFrame(valid, sessionv1.Kind_KIND_GOODBYE, &sessionv1.Goodbye{Error: &sessionv1.Error{Code: 999}})} {
		for how := range byte(4) {
			f.Add(bytes, how)
		}
	}
	ts := serve(f, Config{})
	bystander, seen := ts.connect(f)
	n := 0
	f.Fuzz(func(t *testing.T, bytes []byte, how byte) {
		d := dialCall(t, ts.path)
		lane := d.call
		if how&1 != 0 {
			d.send(t, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: wire.Version, Role: wire.RoleDriver})
			var welcome sessionv1.Welcome
			d.expect(t, sessionv1.Kind_KIND_WELCOME, &welcome)
			if how&2 != 0 {
				lane = dialSide(t, ts.path, welcome.Attach)
			}
		}
		_, _ = lane.Write(bytes) // it may be closed before all is written
		_ = unix.Shutdown(lane.FD(), unix.SHUT_WR)
		if _, err := io.Copy(io.Discard, lane); err != nil {
			t.Fatal(err)
		}
		n++
		bystander.send(t, sessionv1.Kind_KIND_PUT, put(uint64(n)))
		seen.wait(func() bool { return len(seen.seqs) == n })
	drain:
		for {
			select {
			case <-ts.drivers:
			default:
				break drain
			}
		}
	})
}
