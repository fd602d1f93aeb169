package peer

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"

	peerv1 "github.com/weftrun/weft/internal/gen/peer/v1"
	"github.com/weftrun/weft/internal/wire"
)

const (
	// maxBatch is the largest Batch: one message of any size that a node makes
	// of what a session may send it, and its description.
	maxBatch = wire.MaxFrame + 1<<20
	// window is how many bytes gRPC lets a sender be ahead of a receiver.
	window = 4 << 20
)

// codec encodes Batches without reflection. What it decodes shares memory that
// nobody else has.
type codec struct{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b := v.(*peerv1.Batch)
	size := b.SizeVT()
	pool := mem.DefaultBufferPool()
	buf := pool.Get(size)
	if _, err := b.MarshalToSizedBufferVT((*buf)[:size]); err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	return v.(*peerv1.Batch).UnmarshalVTUnsafe(data.Materialize())
}

// verified are gRPC's credentials for connections that have made their handshake
// already.
type verified struct{}

// peerInfo is what gRPC's context has of a connection.
type peerInfo struct {
	credentials.CommonAuthInfo
	conn net.Conn
}

// AuthType implements credentials.AuthInfo.
func (peerInfo) AuthType() string { return "weft" }

// ClientHandshake implements credentials.TransportCredentials.
func (*verified) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, peerInfo{conn: c}, nil
}

// ServerHandshake implements credentials.TransportCredentials.
func (*verified) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, peerInfo{conn: c}, nil
}

// Info implements credentials.TransportCredentials.
func (*verified) Info() credentials.ProtocolInfo { return credentials.ProtocolInfo{} }

// Clone implements credentials.TransportCredentials.
func (v *verified) Clone() credentials.TransportCredentials { return v }

// OverrideServerName implements credentials.TransportCredentials.
func (*verified) OverrideServerName(string) error { return nil }
