package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// runDir is a node's directory while this process has its lock.
type runDir struct {
	path string
	lock *os.File
}

// holder is what a lock file says of the process that has the lock.
type holder struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket"`
}

// openDir makes a directory that nobody else can reach, and takes its lock.
func openDir(path, socket string) (*runDir, error) {
	if err := privateDir(path); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the node's lock: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer func() { _ = lock.Close() }()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		return nil, occupied(path, lock)
	}
	d := &runDir{path: path, lock: lock}
	if err := d.write(holder{os.Getpid(), socket}); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// occupied says who has the lock, and what to do about it.
func occupied(path string, lock *os.File) error {
	var h holder
	who := "another process"
	if json.NewDecoder(lock).Decode(&h) == nil {
		who = fmt.Sprintf("process %d", h.PID)
	}
	return fmt.Errorf("a node runs in %s already (%s)\nuse it, end it with `weft stop --address %s`, or start another one with --dir", path, who, path)
}

func (d *runDir) write(h holder) error {
	data, err := json.Marshal(h)
	if err == nil {
		err = d.lock.Truncate(0)
	}
	if err == nil {
		_, err = d.lock.WriteAt(append(data, '\n'), 0)
	}
	if err != nil {
		return fmt.Errorf("the node's lock: %w", err)
	}
	return nil
}

// close lets another node have the directory. The lock file stays: removing it
// could take it from under a node that starts.
func (d *runDir) close() { _ = d.lock.Close() }

// privateDir makes a directory, or checks the one that is there: in a place
// where anybody may write, somebody else may have made it first.
func privateDir(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("the node's directory: %w; choose another with --dir", err)
	}
	if err := os.Mkdir(path, 0o700); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("the node's directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("the node's directory %s: %w", path, err)
	}
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory; choose another with --dir", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to you; choose another with --dir", path, st.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("others may enter %s; run `chmod 700 %s`, or choose another with --dir", path, path)
	}
	return nil
}

// freeSocket removes what a node that died has left at path, and refuses a
// socket that somebody serves.
func freeSocket(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket %s: the path has %d bytes, at most %d are possible; choose a shorter one with --socket or --dir",
			path, len(path), maxSocketPath)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is not a socket; choose another with --socket", path)
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("socket %s: another process serves it; choose another with --socket", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("the socket of a node that died: %w", err)
	}
	return nil
}
