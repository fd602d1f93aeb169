package session

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// roleEnv makes the test binary play a part in a test of several processes.
const roleEnv = "WEFT_SESSION_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "node":
		runNode()
	case "worker":
		runWorker()
	default:
		goleak.VerifyTestMain(m)
	}
}

// reexec starts this binary in a role, with files as its descriptors from 3 on.
func reexec(role string, files ...int) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	for _, fd := range files {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "lane"))
	}
	err := cmd.Start()
	for _, f := range cmd.ExtraFiles {
		_ = f.Close()
	}
	return cmd, err
}

func pair() (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return fds[0], fds[1], err
}

// runNode relays tasks between the drivers at the socket in its environment
// and one worker, until its standard input ends.
func runNode() {
	relay := new(relay)
	server, err := NewServer(Config{Accept: func(c *Conn, _ *sessionv1.Hello) (Handler, *sessionv1.Welcome, error) {
		relay.driver = c
		return &driverEnd{relay: relay}, &sessionv1.Welcome{}, nil
	}})
	exitOn(err)
	exitOn(relay.startWorker(server))
	exitOn(server.Listen(os.Getenv("WEFT_SESSION_TEST_SOCKET")))
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	server.Close()
	_ = relay.process.Wait()
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A relay turns Submits into Executes and Results into values.
type relay struct {
	driver, worker *Conn
	process        *exec.Cmd
	execute        sessionv1.Execute
	value          sessionv1.ObjectValue
	task           [16]byte
	object         [20]byte
}

func (r *relay) startWorker(s *Server) error {
	call, theirCall, err := pair()
	if err != nil {
		return err
	}
	side, theirSide, err := pair()
	if err != nil {
		return err
	}
	if r.process, err = reexec("worker", theirCall, theirSide); err != nil {
		return err
	}
	r.worker, err = s.Adopt(call, side, func(*Conn, *sessionv1.Hello) (Handler, *sessionv1.Welcome, error) {
		return &workerEnd{relay: r}, &sessionv1.Welcome{Worker: 1}, nil
	})
	return err
}

type driverEnd struct {
	nop
	*relay
}

func (d *driverEnd) Submit(m *sessionv1.Submit, _ int) error {
	for i := range 8 {
		d.task[8+i] = byte(m.Seq >> (56 - 8*i))
	}
	d.execute = sessionv1.Execute{Task: d.task[:], Attempt: 1, TemplateId: m.Template, Args: m.Args}
	d.worker.Send(sessionv1.Kind_KIND_EXECUTE, &d.execute)
	return nil
}
func (d *driverEnd) BatchEnd() { d.worker.Flush() }

type workerEnd struct {
	nop
	*relay
}

func (w *workerEnd) Result(m *sessionv1.Result) error {
	copy(w.object[:], m.Task)
	w.value.Object, w.value.Value = w.object[:], m.Returns[0]
	w.driver.Send(sessionv1.Kind_KIND_VALUE, &w.value)
	w.value.Value = nil
	return nil
}
func (w *workerEnd) BatchEnd() {
	if w.driver != nil { // there is one for the worker's Hello, too
		w.driver.Flush()
	}
}

// runWorker answers Executes with their argument until its lane ends.
func runWorker() {
	s, err := wire.NewSocket(3, wire.PollFor)
	exitOn(err)
	_, err = s.Write(wire.AppendFrame(nil, sessionv1.Kind_KIND_HELLO, &sessionv1.Hello{Version: wire.Version, Role: wire.RoleWorker}))
	exitOn(err)
	r := wire.NewReader(s)
	var execute sessionv1.Execute
	var result sessionv1.Result
	var out []byte
	for {
		kind, body, err := r.Next()
		if err != nil {
			return
		}
		if kind == sessionv1.Kind_KIND_EXECUTE {
			exitOn(execute.UnmarshalVTUnsafe(body))
			result.Task, result.Attempt = execute.Task, execute.Attempt
			result.Returns = append(result.Returns[:0], execute.Args[0].Value)
			out = wire.AppendFrame(out, sessionv1.Kind_KIND_RESULT, &result)
			execute.ResetVT()
		}
		if len(out) > 0 && !r.Buffered() {
			if _, err := s.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}
}

// nop is a Handler that does nothing.
type nop struct{}

func (nop) Template(*sessionv1.Template) error   { return nil }
func (nop) Submit(*sessionv1.Submit, int) error  { return nil }
func (nop) Cancel(*sessionv1.Cancel) error       { return nil }
func (nop) Consume(*sessionv1.Consume) error     { return nil }
func (nop) DropStream(*sessionv1.TaskRef) error  { return nil }
func (nop) Blocked(*sessionv1.TaskRef) error     { return nil }
func (nop) Unblocked(*sessionv1.TaskRef) error   { return nil }
func (nop) Put(*sessionv1.Put, int) error        { return nil }
func (nop) Reserve(*sessionv1.Reserve) error     { return nil }
func (nop) Seal(*sessionv1.Seal) error           { return nil }
func (nop) Abort(*sessionv1.Abort) error         { return nil }
func (nop) Get(*sessionv1.Objects) error         { return nil }
func (nop) Watch(*sessionv1.Objects) error       { return nil }
func (nop) Unwant(*sessionv1.Objects) error      { return nil }
func (nop) Hold(*sessionv1.Counts) error         { return nil }
func (nop) Drop(*sessionv1.Counts) error         { return nil }
func (nop) Unpin(*sessionv1.Counts) error        { return nil }
func (nop) Create(*sessionv1.Submit, int) error  { return nil }
func (nop) Kill(*sessionv1.Kill) error           { return nil }
func (nop) Lookup(*sessionv1.Lookup) error       { return nil }
func (nop) Handle(*sessionv1.Counts) error       { return nil }
func (nop) Group(*sessionv1.Group) error         { return nil }
func (nop) Ungroup(*sessionv1.Group) error       { return nil }
func (nop) Result(*sessionv1.Result) error       { return nil }
func (nop) Item(*sessionv1.Item) error           { return nil }
func (nop) Begun(*sessionv1.TaskRef) error       { return nil }
func (nop) TakenBack(*sessionv1.TakenBack) error { return nil }
func (nop) Blob(*sessionv1.Blob) error           { return nil }
func (nop) Fetch(*sessionv1.Fetch) error         { return nil }
func (nop) Prepare(*sessionv1.Prepare) error     { return nil }
func (nop) Query(*sessionv1.Query) error         { return nil }
func (nop) BatchEnd()                            {}
func (nop) Closed(error)                         {}
