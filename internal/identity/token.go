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
)

// Errors of tokens, wrapped with which token it is.
var (
	ErrNoToken = errors.New("the cluster has no such token: it has been used or revoked, or is another cluster's; `weft token create` at a head makes one")
	ErrExpired = errors.New("the token has expired; `weft token create` at a head makes one")
	ErrNoHead  = errors.New("the token is not for heads; `weft token create --head` makes one that is")
)

// TokenOptions say what a token is good for.
type TokenOptions struct {
	Life time.Duration // 0: as long as the cluster
	Head bool          // it lets heads in
	Once bool          // for one node
}

// NewToken makes a token and records it.
func (a *Authority) NewToken(ctx context.Context, s control.Store, o TokenOptions) (*token.Token, error) {
	t := token.New(a.cert.Raw)
	sum := sha256.Sum256(t.Secret[:])
	rec := &controlv1.Token{Hash: sum[:], Head: o.Head, Once: o.Once}
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

// redeem checks a token, and uses it up if it is for one use.
func redeem(ctx context.Context, s control.Store, t *token.Token, head bool) error {
	r, err := s.Get(ctx, control.TokenKey(t.Name()))
	if errors.Is(err, control.ErrNotFound) {
		return fmt.Errorf("token %s: %w", t.Name(), ErrNoToken)
	}
	if err != nil {
		return err
	}
	var rec controlv1.Token
	if err := rec.UnmarshalVT(r.Value); err != nil {
		return err
	}
	sum := sha256.Sum256(t.Secret[:])
	switch {
	case subtle.ConstantTimeCompare(sum[:], rec.Hash) != 1:
		return fmt.Errorf("token %s: %w", t.Name(), ErrNoToken)
	case rec.Expires > 0 && time.Now().After(time.Unix(rec.Expires, 0)):
		return fmt.Errorf("token %s was good until %s, and here it is %s: %w", t.Name(), stamp(time.Unix(rec.Expires, 0)), stamp(time.Now()), ErrExpired)
	case head && !rec.Head:
		return fmt.Errorf("token %s: %w", t.Name(), ErrNoHead)
	case !rec.Once:
		return nil
	}
	_, err = s.Commit(ctx, control.Txn{If: []control.Cond{control.Unchanged(r)}, Do: []control.Op{control.Remove(r.Key)}})
	if errors.Is(err, control.ErrConflict) {
		return fmt.Errorf("token %s: %w", t.Name(), ErrNoToken)
	}
	return err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// TokenInfo describes a token that can be used.
type TokenInfo struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires,omitzero"`
	Head    bool      `json:"head"`
	Once    bool      `json:"once"`
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
		info := TokenInfo{Name: parts[len(parts)-1], Head: rec.Head, Once: rec.Once}
		if rec.Expires > 0 {
			info.Expires = time.Unix(rec.Expires, 0)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Revoke deletes a token; nodes that used it stay.
func Revoke(ctx context.Context, s control.Store, name string) error {
	r, err := s.Get(ctx, control.TokenKey(name))
	if errors.Is(err, control.ErrNotFound) {
		return fmt.Errorf("token %s: %w", name, ErrNoToken)
	}
	if err != nil {
		return err
	}
	_, err = s.Commit(ctx, control.Txn{Do: []control.Op{control.Remove(r.Key)}})
	return err
}
