package head

import (
	"fmt"

	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

// Seat is a node's place in its cluster: its Member and, if it is a head, the
// Head. It is a node.Cluster.
type Seat struct {
	*Member
	Head *Head // nil: the node is none
}

// Receive takes a message between nodes and the coordinator. The error is one
// of protocol.
func (s *Seat) Receive(from id.Node, m *nodev1.Message) error {
	switch b := m.Body.(type) {
	case *nodev1.Message_Command:
		return s.command(b.Command)
	case *nodev1.Message_Report:
		if s.Head == nil {
			return nil // it was a head once
		}
		return s.Head.Report(from, b.Report)
	}
	return &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("%T is not of the coordinator's", m.Body)}
}
