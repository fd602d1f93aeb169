package cluster

import (
	"context"
	"errors"

	"github.com/weftrun/weft/internal/identity"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// roleOf is what a driver from outside may do with the token that it shows. Only
// heads know tokens; other nodes ask one.
func (m *Member) roleOf(ctx context.Context, shown string) (role token.Role, err error) {
	if m.cfg.Store != nil {
		role, err = identity.RoleOf(ctx, m.cfg.Store, shown)
	} else {
		role, err = m.askHeads(ctx, shown)
	}
	if err == nil || errors.Is(err, wire.Unauthenticated) {
		return role, err
	}
	return "", &wire.Error{Code: wire.Closed, Op: "connect", Message: "whether the token is good cannot be found out now", Err: err, Hint: "try again"}
}

// askHeads asks one after the other until one knows.
func (m *Member) askHeads(ctx context.Context, shown string) (role token.Role, err error) {
	err = errors.New("no head is known")
	for _, h := range m.seat.Heads() {
		address, known := m.where(h)
		if !known {
			continue
		}
		if role, err = m.cfg.Credentials.AskRole(ctx, address, shown); err == nil || errors.Is(err, wire.Unauthenticated) {
			return role, err
		}
	}
	return "", err
}
