package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/weftrun/weft/internal/wire"
)

// maxSocketPath is what fits a sockaddr_un, with the suffix of the name it has
// before it is complete.
const maxSocketPath = 107 - len(newSuffix)

const newSuffix = "~"

// A listener is a node's socket in the file system.
type listener struct {
	fd   int
	path string
	info fs.FileInfo // to remove only what is ours
}

// listen makes a socket at path that only this user may connect to, and puts
// it in the place of one that nobody listens to any more.
func listen(path string) (*listener, error) {
	if len(path) > maxSocketPath {
		return nil, &wire.Error{Code: wire.Invalid, Op: "listen",
			Message: fmt.Sprintf("the socket's path %s has %d bytes, the system allows %d", path, len(path), maxSocketPath),
			Hint:    "choose a shorter folder for the node"}
	}
	if served(path) {
		return nil, &wire.Error{Code: wire.AlreadyExists, Op: "listen", Message: "another node serves " + path,
			Hint: "stop it, or give this node another folder"}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("session: listen: %w", os.NewSyscallError("socket", err))
	}
	info, err := bind(fd, path)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("session: listen at %s: %w", path, err)
	}
	return &listener{fd: fd, path: path, info: info}, nil
}

// bind gives the socket its name only when it listens already, so that who
// finds it can connect.
func bind(fd int, path string) (fs.FileInfo, error) {
	temporary := path + newSuffix
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// The mode of the unbound socket is that of the file from its first moment.
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return nil, os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: temporary}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

// served reports whether somebody listens at path.
func served(path string) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	return err == nil || err == unix.EAGAIN
}

func (l *listener) close() {
	_ = unix.Close(l.fd)
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
		_ = os.Remove(l.path)
	}
}
