package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// frameSize is the size in bytes of a limit's frames: that of a small task's.
const frameSize = 64

// peerFD is the end of the socket pair that a peer was started with.
const peerFD = 3

// echo is another process that sends back what it gets, over a Unix socket: the
// limit of everything that goes to another process and back.
type echo struct {
	cmd *exec.Cmd
	fd  int
}

func startEcho(ctx context.Context) (*echo, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	end := os.NewFile(uintptr(fds[1]), "peer")
	defer end.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-peer", "echo")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{end}, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, unix.Close(fds[0]))
	}
	return &echo{cmd: cmd, fd: fds[0]}, nil
}

// stop closes the socket, at which the peer ends.
func (e *echo) stop() { _ = errors.Join(unix.Close(e.fd), e.cmd.Wait()) }

// ping sends one frame and waits for it to come back.
func (e *echo) ping() error {
	var frame [frameSize]byte
	if err := writeAll(e.fd, frame[:]); err != nil {
		return err
	}
	return readFull(e.fd, frame[:])
}

// stream sends n frames and reads n, many in one system call.
func (e *echo) stream(n int) error {
	sent := make(chan error, 1)
	go func() {
		chunk := make([]byte, 64*kib)
		for left := n * frameSize; left > 0; left -= len(chunk) {
			chunk = chunk[:min(left, len(chunk))]
			if err := writeAll(e.fd, chunk); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	chunk := make([]byte, 64*kib)
	for left := n * frameSize; left > 0; {
		got, err := receive(e.fd, chunk[:min(left, len(chunk))])
		if err != nil {
			return err
		}
		left -= got
	}
	return <-sent
}

// runPeer is what such a process does.
func runPeer(name string) error {
	switch name {
	case "echo":
		return echoAll(peerFD)
	case "init":
		return timeInit()
	}
	return fmt.Errorf("there is no peer %q", name)
}

func echoAll(fd int) error {
	chunk := make([]byte, 64*kib)
	for {
		n, err := receive(fd, chunk)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = writeAll(fd, chunk[:n])
		}
		if err != nil {
			return err
		}
	}
}

// lookFor is how long receive looks for bytes before it sleeps: the fastest way
// to wait for what comes soon.
const lookFor = 50 * time.Microsecond

func receive(fd int, b []byte) (int, error) {
	flags := unix.MSG_DONTWAIT
	for start := time.Now(); ; {
		n, _, err := unix.Recvfrom(fd, b, flags)
		switch {
		case err == unix.EAGAIN && time.Since(start) > lookFor:
			flags = 0
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func readFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := receive(fd, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
