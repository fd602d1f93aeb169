package session

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// A testDriver is a program's end of a session, as small as possible.
type testDriver struct {
	call, side *wire.Socket
	frames     *wire.Reader
	out        []byte
}

// dial opens both lanes of a session.
func dial(t testing.TB, path string) *testDriver {
	t.Helper()
	d := dialCall(t, path)
	d.send(t, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: wire.Version, Role: wire.RoleDriver})
	var welcome sessionv1.Welcome
	d.expect(t, sessionv1.Kind_KIND_WELCOME, &welcome)
	d.side = dialSide(t, path, welcome.Attach)
	return d
}

func dialCall(t testing.TB, path string) *testDriver {
	t.Helper()
	call, err := wire.DialSocket(path, wire.PollFor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = call.Close() })
	return &testDriver{call: call, frames: wire.NewReader(call)}
}

func dialSide(t testing.TB, path string, attach []byte) *wire.Socket {
	t.Helper()
	side, err := wire.DialSocket(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = side.Close() })
	if _, err := side.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_ATTACH, &sessionv1.Attach{Attach: attach})); err != nil {
		t.Fatal(err)
	}
	return side
}

func (d *testDriver) send(t testing.TB, kind sessionv1.Kind, msg wire.Message) {
	t.Helper()
	d.out = wire.AppendFrame(d.out[:0], kind, msg)
	if _, err := d.call.Write(d.out); err != nil {
		t.Fatal(err)
	}
}

func (d *testDriver) expect(t testing.TB, want sessionv1.Kind, msg wire.Message) {
	t.Helper()
	kind, body, err := d.frames.Next()
	if err != nil || kind != want {
		t.Fatalf("got %s, %v; want %s", kind, err, want)
	}
	if err := msg.UnmarshalVT(body); err != nil {
		t.Fatal(err)
	}
}

// startRelay starts a node process that has one worker process.
func startRelay(b *testing.B) (socket string) {
	b.Helper()
	socket = filepath.Join(b.TempDir(), "node")
	b.Setenv("WEFT_SESSION_TEST_SOCKET", socket)
	node := exec.Command("/proc/self/exe")
	node.Env = append(os.Environ(), roleEnv+"=node")
	node.Stderr = os.Stderr
	hold, err := node.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := node.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = hold.Close()
		_ = node.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	return socket
}

// A task through driver, node, worker, node and driver: what the processes'
// sockets and frames take of it, for the node of this test decides nothing.
func BenchmarkTask(b *testing.B) {
	d := dial(b, startRelay(b))
	value := wire.ValueToPB(wire.Value{Tag: wire.CBOR, Data: []byte{0x19, 0x03, 0xe8}})
	submit := &sessionv1.Submit{Template: 1, Args: []*sessionv1.Arg{{Value: value}}}
	b.Run("sync", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			submit.Seq++
			d.send(b, sessionv1.Kind_KIND_SUBMIT, submit)
			if _, _, err := d.frames.Next(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pipelined", func(b *testing.B) {
		b.ReportAllocs()
		const window, batch = 4096, 64
		done := 0
		for sent := 0; done < b.N; {
			d.out = d.out[:0]
			for n := 0; n < batch && sent < b.N && sent-done < window; n++ {
				submit.Seq++
				d.out = wire.AppendFrame(d.out, sessionv1.Kind_KIND_SUBMIT, submit)
				sent++
			}
			if len(d.out) > 0 {
				if _, err := d.call.Write(d.out); err != nil {
					b.Fatal(err)
				}
			}
			for (sent-done >= window || sent == b.N) && done < b.N || d.frames.Buffered() {
				if _, _, err := d.frames.Next(); err != nil {
					b.Fatal(err)
				}
				done++
				if !d.frames.Buffered() {
					break
				}
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	})
}
