// Package token has what somebody shows who has no certificate of a cluster:
// its text names the cluster's authority, so that who has it trusts no other.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Sizes of a token's parts, in bytes.
const (
	nameBytes        = 6
	secretBytes      = 16
	fingerprintBytes = 16
)

const prefix = "weft-"

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Token lets a node or a driver in.
type Token struct {
	name        [nameBytes]byte
	Secret      [secretBytes]byte
	fingerprint [fingerprintBytes]byte
}

// ErrStranger says that who answers is not of the token's cluster, ErrUnknown that
// the cluster has no such token.
var (
	ErrStranger = errors.New("the head is of another cluster than the token")
	ErrUnknown  = errors.New("the cluster has no such token: it has been used or revoked, or is another cluster's")
)

// New draws a token for the cluster of an authority, whose certificate is given.
func New(authority []byte) *Token {
	t := &Token{fingerprint: fingerprint(authority)}
	rand.Read(t.name[:])
	rand.Read(t.Secret[:])
	return t
}

func fingerprint(der []byte) (f [fingerprintBytes]byte) {
	sum := sha256.Sum256(der)
	copy(f[:], sum[:])
	return f
}

// Name tells the token from others, and is no secret.
func (t *Token) Name() string { return hex.EncodeToString(t.name[:]) }

// String is what its holder must know.
func (t *Token) String() string {
	all := append(append(t.name[:], t.Secret[:]...), t.fingerprint[:]...)
	return prefix + strings.ToLower(encoding.EncodeToString(all))
}

// Parse reads a String.
func Parse(s string) (*Token, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), prefix)
	all, err := encoding.DecodeString(strings.ToUpper(text))
	if !ok || err != nil || len(all) != nameBytes+secretBytes+fingerprintBytes {
		return nil, errors.New("that is no token: want weft- and 61 letters and digits, as `weft token create` prints it")
	}
	t := &Token{}
	copy(t.name[:], all)
	copy(t.Secret[:], all[nameBytes:])
	copy(t.fingerprint[:], all[nameBytes+secretBytes:])
	return t, nil
}

// TLS is for a connection to the token's cluster, by the protocol given.
func (t *Token) TLS(protocol string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{protocol},
		InsecureSkipVerify: true, VerifyConnection: t.verify} //nolint:gosec // verify is stricter
}

// verify accepts a chain to the authority of which t has the fingerprint.
func (t *Token) verify(s tls.ConnectionState) error {
	certs := s.PeerCertificates
	ca := certs[len(certs)-1]
	if fingerprint(ca.Raw) != t.fingerprint {
		return ErrStranger
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	if _, err := certs[0].Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		return fmt.Errorf("%w: %w", ErrStranger, err)
	}
	return nil
}
