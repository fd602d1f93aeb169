package node_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/wire"
)

// A session gets the code of its own job, and no other's.
func TestBlobs(t *testing.T) {
	socket := startWith(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	a, b := dialRaw(t, socket), dialRaw(t, socket)
	code := bytes.Repeat([]byte("code"), 1000)
	hash := sha256.Sum256(code)
	for range 2 { // the same again is nothing new
		a.send(sessionv1.Kind_KIND_BLOB, &sessionv1.Blob{Hash: hash[:], Data: code})
	}
	if got := a.fetch(t, hash[:]); !bytes.Equal(got.Data, code) || got.Error != nil {
		t.Errorf("got %d bytes, %v", len(got.Data), got.Error)
	}
	if got := b.fetch(t, hash[:]); len(got.Data) != 0 || wire.Code(got.Error.GetCode()) != wire.NotFound {
		t.Errorf("another job got %d bytes, %v", len(got.Data), got.Error)
	}
}

func (d *rawDriver) fetch(t *testing.T, hash []byte) *sessionv1.Fetched {
	t.Helper()
	d.send(sessionv1.Kind_KIND_FETCH, &sessionv1.Fetch{Request: 5, Hash: hash})
	m := new(sessionv1.Fetched)
	kind, body, err := d.reader.Next()
	if err == nil {
		err = m.UnmarshalVT(body)
	}
	if err != nil || kind != sessionv1.Kind_KIND_FETCHED || m.Request != 5 {
		t.Fatal(kind, m.Request, err)
	}
	return m
}
