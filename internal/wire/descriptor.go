package wire

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// FDReader reads a side lane, for one goroutine: its bytes, and the descriptors that come along.
type FDReader struct {
	sock *Socket
	park *Parking
	oob  []byte
	fds  []int // received and not yet claimed, oldest first
}

// NewFDReader reads sock, which remains the caller's.
func NewFDReader(sock *Socket) (*FDReader, error) {
	park, err := NewParking(sock.FD())
	if err != nil {
		return nil, err
	}
	return &FDReader{sock: sock, park: park, oob: make([]byte, unix.CmsgSpace(16*4))}, nil
}

// Read implements io.Reader.
func (r *FDReader) Read(b []byte) (int, error) {
	for {
		n, oobn, _, _, err := unix.Recvmsg(r.sock.FD(), b, r.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := r.park.Wait(); err != nil {
				return 0, io.EOF
			}
		case err != nil:
			return 0, os.NewSyscallError("recvmsg", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, r.collect(r.oob[:oobn])
		}
	}
}

func (r *FDReader) collect(oob []byte) error {
	if len(oob) == 0 {
		return nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			r.fds = append(r.fds, fds...)
		}
	}
	return nil
}

// Claim takes the oldest descriptor.
func (r *FDReader) Claim() (int, error) {
	if len(r.fds) == 0 {
		return -1, &Error{Code: Protocol, Message: "a slab was announced without its descriptor"}
	}
	fd := r.fds[0]
	r.fds = r.fds[1:]
	return fd, nil
}

// Close ends a Read and closes what nobody has claimed.
func (r *FDReader) Close() {
	_ = r.park.Close()
	for _, fd := range r.fds {
		_ = unix.Close(fd)
	}
}
