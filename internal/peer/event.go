package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftrun/weft/internal/id"
)

// Event is something that happened to the link to a node.
type Event struct {
	Kind EventKind
	Node id.Node
	Err  error // why; nil for Up
}

// EventKind is the kind of an Event.
type EventKind uint8

// Kinds of Event. Refused and Outcast come once until the link is Up again.
const (
	Up      EventKind = iota + 1 // a stream is open
	Refused                      // for RefusedAfter now: its process is gone, or another node is where it was
	Outcast                      // the node says that this one has been declared dead
	Broken                       // a message, an identity or the protocol is not right
)

// String is the kind's name.
func (k EventKind) String() string { return [...]string{"", "up", "refused", "outcast", "broken"}[k] }

// Why a call was not answered.
var (
	errStranger  = errors.New("another node is at its address")
	errOutcast   = errors.New("it says that this node has been declared dead")
	errOlder     = errors.New("it has another stream")
	errNoAddress = errors.New("its address is not known")
	errSilent    = errors.New("it does not answer")
)

// outage is what has been reported since a link was last up.
type outage struct {
	refusedAt time.Time // the first of connections that have all been refused
	told      [Broken + 1]bool
}

// failed reports why a stream could not be opened, if that is news.
func (l *link) failed(err error) {
	kind := Broken
	l.telling.Lock()
	defer l.telling.Unlock()
	o := &l.outage
	switch {
	case refused(err):
		kind = Refused
		if o.refusedAt.IsZero() {
			o.refusedAt = time.Now()
		}
		if time.Since(o.refusedAt) < l.p.cfg.RefusedAfter {
			return
		}
	case errors.Is(err, errOutcast):
		kind = Outcast
	case transient(err):
		o.refusedAt = time.Time{}
		return
	}
	if !o.told[kind] {
		o.told[kind] = true
		l.tell(Event{Kind: kind, Err: err})
	}
}

// report tells of an event that is always news.
func (l *link) report(e Event) {
	l.telling.Lock()
	defer l.telling.Unlock()
	if e.Kind == Up {
		l.outage = outage{}
	}
	l.tell(e)
}

func (l *link) tell(e Event) {
	if e.Node = l.peer; l.p.ctx.Err() == nil {
		l.p.cfg.Event(e)
	}
}

// refused reports whether a process is not there any more, rather than silent.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, errStranger)
}

// transient reports whether an attempt that failed says nothing about the peer.
func transient(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return false // an alert of TLS: it does not accept this node's certificate
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	var net net.Error
	return errors.Is(err, errOlder) || errors.Is(err, errNoAddress) || errors.Is(err, errSilent) ||
		errors.Is(err, errReplaced) || errors.Is(err, context.Canceled) || errors.As(err, &net)
}
