package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/weftrun/weft/internal/control"
	controlv1 "github.com/weftrun/weft/internal/gen/control/v1"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// Errors of tokens, wrapped with which token it is.
var (
	ErrExpired = errors.New("the token has expired")
	ErrNoHead  = errors.New("the token is not for heads")
	ErrNoNode  = errors.New("the token is for drivers, not for nodes")
	ErrNoRole  = errors.New("the token is for nodes, not for drivers")
)

// TokenOptions say what a token is good for.
type TokenOptions struct {
	Life time.Duration // 0: as long as the cluster
	Head bool          // it lets heads in
	Once bool          // for one node
	Role token.Role    // of drivers; "": it is for nodes. One for heads is for both.
}

// NewToken makes a token and records it.
func (a *Authority) NewToken(ctx context.Context, s control.Store, o TokenOptions) (*token.Token, error) {
	t := token.New(a.cert.Raw)
	sum := sha256.Sum256(t.Secret[:])
	rec := &controlv1.Token{Hash: sum[:], Head: o.Head, Once: o.Once, Role: string(o.Role)}
	if o.Life > 0 {
		rec.Expires = time.Now().Add(o.Life).Unix()
	}
	value, err := rec.MarshalVT()
	if err != nil {
		return nil, err
	}
	_, err = s.Commit(ctx, control.Txn{Do: []control.Op{control.Set(control.TokenKey(t.Name()), value)}})
	return t, err
}

// lookUp returns the record of a token that is good.
func lookUp(ctx context.Context, s control.Store, t *token.Token) (r control.Record, rec *controlv1.Token, err error) {
	r, err = s.Get(ctx, control.TokenKey(t.Name()))
	if errors.Is(err, control.ErrNotFound) {
		return r, nil, unknown(t.Name())
	}
	if err != nil {
		return r, nil, err
	}
	rec = &controlv1.Token{}
	if err := rec.UnmarshalVT(r.Value); err != nil {
		return r, nil, err
	}
	sum := sha256.Sum256(t.Secret[:])
	switch {
	case subtle.ConstantTimeCompare(sum[:], rec.Hash) != 1:
		return r, nil, unknown(t.Name())
	case rec.Expires > 0 && time.Now().After(time.Unix(rec.Expires, 0)):
		return r, nil, fmt.Errorf("token %s was good until %s, and here it is %s: %w", t.Name(), stamp(time.Unix(rec.Expires, 0)), stamp(time.Now()), ErrExpired)
	}
	return r, rec, nil
}

func unknown(name string) error { return fmt.Errorf("token %s: %w", name, token.ErrUnknown) }

// redeem checks a node's token, and uses it up if it is for one use.
func redeem(ctx context.Context, s control.Store, t *token.Token, head bool) error {
	r, rec, err := lookUp(ctx, s, t)
	switch {
	case err != nil:
		return err
	case rec.Role != "" && !rec.Head:
		return fmt.Errorf("token %s: %w", t.Name(), ErrNoNode)
	case head && !rec.Head:
		return fmt.Errorf("token %s: %w", t.Name(), ErrNoHead)
	case !rec.Once:
		return nil
	}
	_, err = s.Commit(ctx, control.Txn{If: []control.Cond{control.Unchanged(r)}, Do: []control.Op{control.Remove(r.Key)}})
	if errors.Is(err, control.ErrConflict) {
		return unknown(t.Name())
	}
	return err
}

// RoleOf checks a driver's token. What is wrong with the token is an error of
// code Unauthenticated.
func RoleOf(ctx context.Context, s control.Store, secret string) (token.Role, error) {
	t, err := token.Parse(secret)
	if err != nil {
		return "", refuse(err)
	}
	_, rec, err := lookUp(ctx, s, t)
	switch {
	case errors.Is(err, token.ErrUnknown), errors.Is(err, ErrExpired):
		return "", refuse(err)
	case err != nil:
		return "", err
	case rec.Role == "":
		return "", refuse(fmt.Errorf("token %s: %w", t.Name(), ErrNoRole))
	}
	return token.ParseRole(rec.Role)
}

func refuse(err error) error {
	return &wire.Error{Code: wire.Unauthenticated, Op: "connect", Message: err.Error(), Err: err,
		Hint: "`weft token create --role driver` at a head makes one; put it into " + token.Env}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// TokenInfo describes a token that can be used.
type TokenInfo struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires,omitzero"`
	Head    bool      `json:"head"`
	Once    bool      `json:"once"`
	Role    string    `json:"role,omitempty"`
}

// Tokens lists those that there are, expired ones included.
func Tokens(ctx context.Context, s control.Store) ([]TokenInfo, error) {
	list, err := s.List(ctx, control.Range{Prefix: control.Prefix("tokens")})
	if err != nil {
		return nil, err
	}
	infos := make([]TokenInfo, 0, len(list.Records))
	for _, r := range list.Records {
		var rec controlv1.Token
		if err := rec.UnmarshalVT(r.Value); err != nil {
			return nil, err
		}
		parts := control.SplitKey(r.Key)
		info := TokenInfo{Name: parts[len(parts)-1], Head: rec.Head, Once: rec.Once, Role: rec.Role}
		if rec.Expires > 0 {
			info.Expires = time.Unix(rec.Expires, 0)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Revoke deletes a token; nodes that used it stay, sessions of drivers end.
func Revoke(ctx context.Context, s control.Store, name string) error {
	r, err := s.Get(ctx, control.TokenKey(name))
	if errors.Is(err, control.ErrNotFound) {
		return unknown(name)
	}
	if err != nil {
		return err
	}
	_, err = s.Commit(ctx, control.Txn{Do: []control.Op{control.Remove(r.Key)}})
	return err
}
