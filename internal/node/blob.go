package node

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/wire"
)

// maxBlobBytes bounds what the blobs of a job may take together.
const maxBlobBytes = 1 << 30

// blobs are bytes that many tasks of a job need, by their SHA-256: code.
type blobs struct {
	data  map[string][]byte
	total int64
}

// add keeps a blob. The same one again is nothing new.
func (b *blobs) add(m *sessionv1.Blob) (fresh bool, err error) {
	if sum := sha256.Sum256(m.Data); !bytes.Equal(sum[:], m.Hash) {
		return false, &wire.Error{Code: wire.Protocol, Op: "blob", Message: "its hash is not that of its bytes"}
	}
	if _, known := b.data[string(m.Hash)]; known {
		return false, nil
	}
	if b.total+int64(len(m.Data)) > maxBlobBytes {
		return false, &wire.Error{Code: wire.Invalid, Op: "blob", Message: fmt.Sprintf("code and files of the job are more than %d MiB", maxBlobBytes>>20),
			Hint: "put large values that functions use into objects, and pass their refs"}
	}
	if b.data == nil {
		b.data = map[string][]byte{}
	}
	b.data[string(m.Hash)] = bytes.Clone(m.Data)
	b.total += int64(len(m.Data))
	return true, nil
}

// blob keeps code for the session's job. The objects that it refers to are held
// for the driver.
func (n *Node) blob(s *session, m *sessionv1.Blob) error {
	refs, err := wire.UnpackObjects(nil, m.Refs)
	if err != nil {
		return err
	}
	j := n.jobs[s.job]
	if j == nil {
		return nil // it has ended, and so will s
	}
	fresh, err := j.blobs.add(m)
	if !fresh || err != nil {
		return err
	}
	for _, o := range refs {
		n.stepOwn(&own.Event{Kind: own.Hold, Object: o, Session: j.session.id, N: 1})
	}
	return nil
}

// fetch answers with a blob of the session's job.
func (n *Node) fetch(s *session, m *sessionv1.Fetch) error {
	if err := s.ask(); err != nil {
		return err
	}
	reply := &sessionv1.Fetched{Request: m.Request}
	j := n.jobs[s.job]
	if j != nil {
		reply.Data = j.blobs.data[string(m.Hash)]
	}
	if reply.Data == nil && j != nil && n.cfg.Network != nil {
		n.fetchBlob(s, j, m)
		return nil
	}
	if reply.Data == nil {
		reply.Error = wire.ErrorToPB(&wire.Error{Code: wire.NotFound, Op: "fetch", Message: fmt.Sprintf("the job has no blob %x", m.Hash)})
	}
	s.answer(n, outgoing{kind: sessionv1.Kind_KIND_FETCHED, msg: reply})
	return nil
}

// Blob implements proto.Handler.
func (h *handler) Blob(m *sessionv1.Blob) error {
	return h.in(func() error { return h.n.blob(h.s, m) })
}

// Fetch implements proto.Handler.
func (h *handler) Fetch(m *sessionv1.Fetch) error {
	return h.in(func() error { return h.n.fetch(h.s, m) })
}
