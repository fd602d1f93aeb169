package remote_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

var (
	inc    = weft.Task1("remote_test.inc", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	double = weft.Task1("remote_test.double", func(_ context.Context, b []byte) ([]byte, error) { return append(bytes.Clone(b), b...), nil })
)

// A program elsewhere calls, puts and gets, small and large, as on the node's machine.
func TestDriver(t *testing.T) {
	ctx := start(t, token.Driver, 0).open(t)
	for i := range 100 {
		if got, err := inc.Call(ctx, i); err != nil || got != i+1 {
			t.Fatal(got, err)
		}
	}
	for _, size := range []int{0, 10, 100 << 10, 3<<20 + 7, 20 << 20} {
		data := pattern(size)
		ref, err := weft.Put(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ref.Get(ctx); err != nil || !bytes.Equal(got, data) {
			t.Fatal(size, len(got), err)
		}
		if got, err := double.Call(ctx, data); err != nil || !bytes.Equal(got, append(bytes.Clone(data), data...)) {
			t.Fatal(size, len(got), err)
		}
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

// Connections that are cut again and again lose nothing and do nothing twice.
func TestCut(t *testing.T) {
	c := start(t, token.Driver, 0)
	c.way.Limit(300 << 10) // bytes that a connection lasts for
	ctx := c.open(t)
	data := pattern(2 << 20)
	for i := range 200 {
		if got, err := inc.Call(ctx, i); err != nil || got != i+1 {
			t.Fatal(i, got, err)
		}
		if i%50 == 0 {
			if got, err := double.Call(ctx, data); err != nil || !bytes.Equal(got, append(bytes.Clone(data), data...)) {
				t.Fatal(i, len(got), err)
			}
		}
	}
	if n := c.way.Accepted(); n < 20 {
		t.Error("there were", n, "connections")
	}
}

// A driver that does not come back has ended; its program and the node say so.
func TestLost(t *testing.T) {
	c := start(t, token.Driver, 50*time.Millisecond)
	ctx := c.open(t)
	if _, err := inc.Call(ctx, 1); err != nil {
		t.Fatal(err)
	}
	c.way.Cut(true)
	until(ctx, t, "an end of the job", func() bool { return c.gateway.Sessions() == 0 })
	c.way.Cut(false)
	if _, err := inc.Call(ctx, 1); !errors.Is(err, weft.Closed) || !strings.Contains(err.Error(), "the session has ended") {
		t.Error(err)
	}
}

// A token that is revoked ends its session, which says so; one that has expired does not.
func TestRevoked(t *testing.T) {
	c := start(t, token.Driver, 0)
	ctx := c.open(t)
	c.refuse.Store(&wire.Error{Code: wire.Unauthenticated, Message: "the token has expired"})
	asked := c.asked.Load()
	until(ctx, t, "a second look at the token", func() bool { return c.asked.Load() > asked+1 })
	if _, err := inc.Call(ctx, 1); err != nil {
		t.Fatal(err)
	}
	c.refuse.Store(&wire.Error{Code: wire.Unauthenticated, Message: "it was revoked", Err: token.ErrUnknown})
	until(ctx, t, "an end of the job", func() bool { return c.gateway.Sessions() == 0 })
	if _, err := inc.Call(ctx, 1); !errors.Is(err, weft.Unauthenticated) || !strings.Contains(err.Error(), "it was revoked") {
		t.Error(err)
	}
}

// What a token does not allow ends the session, which says why.
func TestRoles(t *testing.T) {
	ctx := start(t, token.Reader, 0).open(t)
	_, err := inc.Call(ctx, 1)
	if !errors.Is(err, weft.Unauthenticated) || !strings.Contains(err.Error(), `role "reader"`) {
		t.Error(err)
	}
}

// Without a good token a program gets nothing but the reason.
func TestRefused(t *testing.T) {
	c := start(t, token.Driver, 0)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // no head's tokens
	t.Setenv(token.Env, "")
	c.refuse.Store(&wire.Error{Code: wire.Unauthenticated, Message: "the token has expired", Hint: "make another"})
	other := &cluster{}
	_ = other.listen(t).Close()
	at := c.way.Address
	for _, x := range []struct{ name, address, says string }{
		{"expired", c.address(), "the token has expired"},
		{"none", "weft://" + at, "there is no token"},
		{"garbage", "weft://weft-xyz@" + at, "that is no token"},
		{"another cluster's", "weft://" + other.token.String() + "@" + at, "another cluster than the token"},
	} {
		s, err := weft.Init(t.Context(), weft.Address(x.address))
		if !errors.Is(err, weft.Unauthenticated) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", x.name, err)
		}
		if s != nil {
			_ = s.Shutdown(t.Context())
		}
	}
	if _, err := weft.Init(t.Context(), weft.Address("weft://weft-xyz@/x")); !errors.Is(err, weft.Invalid) || strings.Contains(err.Error(), "xyz") {
		t.Error(err)
	}
}

func until(ctx context.Context, t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("there never was", what)
		}
	}
}
