package client

import (
	"fmt"
	"os"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
)

// printLog shows a line that a task printed in its worker where the driver's
// own output goes, with the worker's process number before it.
func printLog(m *sessionv1.Log) { PrintLine(int(m.Pid), m.Text, m.Stderr) }

// PrintLine shows a line of a worker's output in this process's.
func PrintLine(pid int, line []byte, stderr bool) {
	out := os.Stdout
	if stderr {
		out = os.Stderr
	}
	fmt.Fprintf(out, "(pid=%d) %s\n", pid, line)
}
