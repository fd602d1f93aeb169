package cluster

import (
	"context"
	"io"

	"github.com/weftrun/weft/internal/coordinate"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/peer"
)

// know notes where a node can be reached.
func (m *Member) know(n id.Node, address string) {
	m.mu.Lock()
	news := m.addresses[n] != address
	m.addresses[n] = address
	m.mu.Unlock()
	if news {
		m.peers.Reachable(n)
	}
}

// where is known for every node that the coordinator spoke of. Of another it is
// asked for.
func (m *Member) where(n id.Node) (string, bool) {
	m.mu.Lock()
	address, known := m.addresses[n]
	m.mu.Unlock()
	if !known {
		go m.seat.Find(n)
	}
	return address, known
}

func (m *Member) receive(from id.Node, message []byte) error { return m.node.Receive(from, message) }

func (m *Member) serve(ctx context.Context, name string) (io.ReadCloser, error) {
	return m.node.Serve(ctx, name)
}

// tell sends a message about the cluster, to this node too.
func (m *Member) tell(to id.Node, message *nodev1.Message) {
	if to == m.id {
		m.mu.Lock()
		m.here = append(m.here, message)
		m.mu.Unlock()
		select {
		case m.poke <- struct{}{}:
		default:
		}
		return
	}
	frame, err := message.MarshalVT()
	if err != nil {
		m.cfg.Node.Log.Error("a message about the cluster cannot be encoded", "error", err)
		return
	}
	m.peers.Send(to, frame)
}

// hearItself takes what the node says to itself, as coordinator and as member.
func (m *Member) hearItself() {
	for {
		select {
		case <-m.poke:
		case <-m.ended:
			return
		}
		for {
			m.mu.Lock()
			batch := m.here
			m.here = nil
			m.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			for _, message := range batch {
				if err := m.seat.Receive(m.id, message); err != nil {
					m.cfg.Node.Log.Error("a message of this node to itself", "error", err)
				}
			}
		}
	}
}

// linked is told how links are. What it says of a process that is gone the
// coordinator hears at once.
func (m *Member) linked(e peer.Event) {
	switch e.Kind {
	case peer.Refused:
		m.cfg.Node.Log.Warn("node refuses connections: its process is gone", "node", e.Node, "error", e.Err)
		m.seat.Report(&coordinate.Event{Kind: coordinate.Broken, Node: e.Node})
	case peer.Outcast:
		m.cfg.Node.Log.Error("the cluster has declared this node dead", "says", e.Node)
		m.expel()
	case peer.Broken:
		m.cfg.Node.Log.Error("link is not right", "node", e.Node, "error", e.Err)
	}
}
