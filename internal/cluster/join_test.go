package cluster_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/cluster"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/identity"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/token"
)

// A token lets in whom it is for, once, and while it is good.
func TestTokens(t *testing.T) {
	head, other := start(t, 0), start(t, 0)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fresh := func(of *member, o identity.TokenOptions) string {
		t.Helper()
		made, err := of.authority.NewToken(ctx, of.store, o)
		if err != nil {
			t.Fatal(err)
		}
		return made.String()
	}
	once := fresh(head, identity.TokenOptions{Once: true, Life: time.Hour})
	if _, err := identity.Join(ctx, head.Address(), once, newID(), nil); err != nil {
		t.Fatal(err)
	}
	revoked, err := head.authority.NewToken(ctx, head.store, identity.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.Revoke(ctx, head.store, revoked.Name()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, token, says string
		hosts             []string
	}{
		{"used", once, token.ErrUnknown.Error(), nil},
		{"revoked", revoked.String(), token.ErrUnknown.Error(), nil},
		{"expired", fresh(head, identity.TokenOptions{Life: 1}), identity.ErrExpired.Error(), nil},
		{"another cluster's", fresh(other, identity.TokenOptions{}), "another cluster than the token", nil},
		{"not for heads", fresh(head, identity.TokenOptions{}), "no other head can", []string{"h"}},
		{"garbage", "weft-xyz", "that is no token", nil},
	} {
		if _, err := identity.Join(ctx, head.Address(), c.token, newID(), c.hosts); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func newID() (n id.Node) {
	rand.Read(n[:])
	return n
}

// A node with another authority's certificate is not let in, and hears why.
func TestStranger(t *testing.T) {
	first := start(t, 0)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	forged, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	cfg := joining(t, first, newID())
	if cfg.Credentials, err = forged.NewCredentials(cfg.ID, nil); err != nil {
		t.Fatal(err)
	}
	cfg.Node = node.Config{Dir: t.TempDir()}
	m := cluster.New(cfg)
	soon, stop := context.WithTimeoutCause(ctx, 2*time.Second, errors.New("two seconds"))
	defer stop()
	if err := m.Start(soon); err == nil || !strings.Contains(err.Error(), "no head of the cluster has taken this node in") {
		t.Error(err)
	}
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
}
