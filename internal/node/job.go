package node

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	proto "github.com/weftrun/weft/internal/session"
	"github.com/weftrun/weft/internal/wire"
)

// newJob is the job of a driver that says Hello, without its id. A program that
// is not there is missed when a worker is to be started.
func newJob(c *proto.Conn, m *sessionv1.Hello) *job {
	j := &job{name: strings.Clone(m.Name), metadata: maps.Clone(m.Metadata), started: time.Now()}
	path := strings.Clone(m.Programs[wire.Go])
	if m.Language != wire.Python {
		j.python = strings.Clone(m.Programs[wire.Python])
		exe, err := driverProgram(c, path)
		j.setProgram(exe, err)
		return j
	}
	j.python = strings.Clone(m.Entrypoint)
	if path == "" {
		j.noExe = &wire.Error{Code: wire.SetupFailed, Message: "a Go function, but the driver is a Python program and has named no Go program",
			Hint: "weft.init(go_program=PATH) names the program that has it"}
		return j
	}
	j.name = filepath.Base(path)
	exe, err := os.Open(path)
	j.setProgram(exe, err)
	return j
}

// driverProgram opens what a Go driver runs, or the copy at path if that is on
// another machine.
func driverProgram(c *proto.Conn, path string) (*os.File, error) {
	if path != "" {
		return os.Open(path)
	}
	return c.Executable()
}

// setProgram notes what Go workers are started from, or why there is none.
func (j *job) setProgram(exe *os.File, err error) {
	if err != nil {
		j.noExe = &wire.Error{Code: wire.SetupFailed, Message: "the program of the job's Go workers cannot be opened", Err: err}
		return
	}
	j.exe = exe
}

// close gives the program up.
func (j *job) close() {
	j.program.Lock()
	defer j.program.Unlock()
	if j.exe != nil {
		_ = j.exe.Close()
	}
}
