package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/weftrun/weft"
)

// trouble kills one worker process at each place where it is told to strike:
// the first process that gets there and leaves its mark. The zero trouble
// never strikes.
type trouble struct {
	Dir   string // where the marks are, on the machine of driver and workers
	Place string
	Spare int // the pid of the driver
}

func newTrouble(wanted bool) (trouble, error) {
	if !wanted {
		return trouble{}, nil
	}
	dir, err := os.MkdirTemp("", "digits")
	return trouble{Dir: dir, Spare: os.Getpid()}, err
}

func (t trouble) remove() {
	if t.Dir != "" {
		_ = os.RemoveAll(t.Dir) // it is a temporary folder
	}
}

// at is the trouble of one place.
func (t trouble) at(place string) trouble {
	t.Place = place
	return t
}

// options are those of tasks that may be struck: a process of their own, so
// that the driver lives on.
func (t trouble) options() []weft.TaskOption {
	if t.Dir == "" {
		return nil
	}
	return []weft.TaskOption{weft.Isolated()}
}

// strike kills this process if it is the first at its place, and returns nil
// in all others.
func (t trouble) strike() error {
	if t.Dir == "" {
		return nil
	}
	if os.Getpid() == t.Spare {
		return errors.New("an isolated task runs in its driver's process")
	}
	mark, err := os.OpenFile(filepath.Join(t.Dir, t.Place), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := mark.WriteString(strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// report says who was struck at the place.
func (t trouble) report(place string, out *screen) {
	if t.Dir == "" {
		return
	}
	pid, err := os.ReadFile(filepath.Join(t.Dir, place))
	if err != nil {
		out.printf("no worker process was killed in the %s\n", place)
		return
	}
	out.printf("worker process %s was killed in the middle of the %s\n", pid, place)
}
