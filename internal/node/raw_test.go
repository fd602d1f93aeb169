package node_test

import (
	"errors"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// rawDriver is a driver that says what no client would.
type rawDriver struct {
	call    *wire.Socket
	reader  *wire.Reader
	node    id.Node
	session id.Session
	welcome sessionv1.Welcome
}

// dialRaw says Hello and attaches no side lane.
func dialRaw(t testing.TB, socket string) *rawDriver {
	t.Helper()
	return dialRawAs(t, socket, &sessionv1.Hello{Language: wire.Go})
}

// dialRawAs is dialRaw for a driver that says more of itself.
func dialRawAs(t testing.TB, socket string, hello *sessionv1.Hello) *rawDriver {
	t.Helper()
	hello.Version, hello.Role = wire.Version, wire.RoleDriver
	call, err := wire.DialSocket(socket, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = call.Close() })
	d := &rawDriver{call: call, reader: wire.NewReader(call)}
	d.send(sessionv1.Kind_KIND_HELLO, hello)
	kind, body, err := d.reader.Next()
	if err == nil && kind == sessionv1.Kind_KIND_WELCOME {
		err = d.welcome.UnmarshalVT(body)
	}
	if err == nil {
		d.node, err = wire.ReadNode(d.welcome.Node)
	}
	if err != nil {
		t.Fatal(kind, err)
	}
	d.session = id.Session(d.welcome.Session)
	return d
}

// send reports whether the node still listens.
func (d *rawDriver) send(kind sessionv1.Kind, m wire.Message) bool {
	_, err := d.call.Write(wire.AppendFrame(nil, kind, m))
	return err == nil
}

// goodbye reads to the end and returns what the node said there, or nil.
func (d *rawDriver) goodbye() *wire.Error {
	for {
		kind, body, err := d.reader.Next()
		if err != nil {
			return nil //nolint:nilerr // it is closed, without a word
		}
		var m sessionv1.Goodbye
		if kind == sessionv1.Kind_KIND_GOODBYE && m.UnmarshalVT(body) == nil {
			var e *wire.Error
			errors.As(wire.ErrorFromPB(m.Error), &e)
			return e
		}
	}
}
