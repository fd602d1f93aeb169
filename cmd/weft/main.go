// Command weft runs a node and asks nodes what they do and why.
//
//	weft start            run a node in the foreground; --detach in the background
//	weft status           what a node has and does
//	weft list tasks       and actors, objects, workers, jobs, nodes, groups
//	weft why ID           what something waits for, or why it failed
//	weft replay TASK      run a failed task again, here and alone
//	weft events           what happened; -f for what happens
//	weft timeline         the same, for ui.perfetto.dev
//	weft stop             end a node
//	weft drain NODE       have a node leave its cluster, and lose nothing
//	weft up FILE          start a cluster on machines that ssh reaches; weft down ends it
//
// Exit status: 0 success; 1 failure; 2 wrong usage; 3 no node answers; 4 no
// such thing.
//
// A [program] holds what a command gets from the process it is in: output,
// environment, signals. Tests run commands in their own process with another.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	p := &program{
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		getenv:  os.Getenv,
		signals: signals,
		width:   terminalWidth(os.Stdout),
		newNode: newNode,
	}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}

// terminalWidth is how many columns f shows; 0 if it is no terminal.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
