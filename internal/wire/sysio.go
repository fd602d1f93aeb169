package wire

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receive reads what a socket has, without waiting and whatever the
// descriptor's mode; EAGAIN if that is nothing. b is not empty.
func Receive(fd int, b []byte) (int, error) {
	return transfer(unix.SYS_RECVFROM, fd, b, unix.MSG_DONTWAIT)
}

// Send writes what a socket takes, without waiting and whatever the
// descriptor's mode; EAGAIN if that is nothing. b is not empty.
func Send(fd int, b []byte) (int, error) {
	return transfer(unix.SYS_SENDTO, fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// transfer does not tell the scheduler: the calls never sleep and last about a
// microsecond, a copy of a full socket buffer some twenty.
func transfer(call uintptr, fd int, b []byte, flags uintptr) (int, error) {
	for {
		n, _, err := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		if err == 0 {
			return int(n), nil
		}
		if err != unix.EINTR {
			return 0, err
		}
	}
}
