package identity

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/weftrun/weft/internal/control"
	peerv1 "github.com/weftrun/weft/internal/gen/peer/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// Protocol is what a node that joins negotiates with a head: TLS in which only
// the head has a certificate, and HTTP in it.
const Protocol = "weft-join"

// maxJoin bounds what either side says.
const maxJoin = 1 << 20

// joinTime is how long one exchange may take.
const joinTime = 10 * time.Second

// Desk answers nodes that want to come in.
type Desk struct {
	Authority *Authority
	Store     control.Store
	Self      id.Node
	// Metadata lists where the metadata store's members are; nil: no other head can join.
	Metadata func(ctx context.Context) ([]string, error)
}

// ServeHTTP implements http.Handler.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var reply *peerv1.JoinReply
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJoin))
	if err == nil {
		var req peerv1.JoinRequest
		if err = req.UnmarshalVT(body); err == nil {
			reply, err = d.admit(r.Context(), &req)
		}
	}
	if err != nil {
		reply = &peerv1.JoinReply{Error: err.Error()}
	}
	out, err := reply.MarshalVT()
	if err == nil {
		_, _ = w.Write(out)
	}
}

func (d *Desk) admit(ctx context.Context, req *peerv1.JoinRequest) (*peerv1.JoinReply, error) {
	t, err := token.Parse(req.Token)
	if err != nil {
		return nil, err
	}
	if req.Driver {
		return d.vouch(ctx, req.Token)
	}
	n, err := wire.ReadNode(req.Node)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(req.Key)
	if err != nil {
		return nil, err
	}
	if req.Head && d.Metadata == nil {
		return nil, errors.New("this cluster keeps its metadata where no other head can")
	}
	if err := redeem(ctx, d.Store, t, req.Head); err != nil {
		return nil, fmt.Errorf("%w; `weft token create%s` at a head makes one that is good", err, map[bool]string{true: " --head"}[req.Head])
	}
	reply := &peerv1.JoinReply{Authority: d.Authority.cert.Raw, Head: d.Self[:]}
	if reply.Certificate, err = d.Authority.sign(n, key, req.Hosts); err != nil || !req.Head {
		return reply, err
	}
	if reply.Metadata, err = d.Metadata(ctx); err != nil {
		return nil, err
	}
	reply.AuthorityKey, err = x509.MarshalPKCS8PrivateKey(d.Authority.key)
	return reply, err
}

// vouch tells another node what a driver may do.
func (d *Desk) vouch(ctx context.Context, secret string) (*peerv1.JoinReply, error) {
	role, err := RoleOf(ctx, d.Store, secret)
	if e := wire.AsError(err, wire.Closed); e != nil && e.Code == wire.Unauthenticated {
		return &peerv1.JoinReply{Error: e.Message, Refused: true, Unknown: errors.Is(err, token.ErrUnknown)}, nil
	}
	return &peerv1.JoinReply{Role: string(role)}, err
}

// AskRole is RoleOf for a node that is no head: it asks the one at an address,
// which is of the node's own cluster, whatever the token says.
func (c *Credentials) AskRole(ctx context.Context, address, secret string) (token.Role, error) {
	t, err := token.Parse(secret)
	if err != nil {
		return "", refuse(err)
	}
	reply, err := post(ctx, address, token.New(c.authority.Raw).TLS(Protocol), &peerv1.JoinRequest{Token: secret, Driver: true})
	if err != nil {
		return "", err
	}
	switch {
	case reply.Unknown:
		return "", refuse(unknown(t.Name()))
	case reply.Refused:
		return "", refuse(errors.New(reply.Error))
	case reply.Error != "":
		return "", errors.New(reply.Error)
	}
	return token.ParseRole(reply.Role)
}

// Admission is what a node that has come in has.
type Admission struct {
	*Credentials
	Head      id.Node    // that let it in
	Authority *Authority // of a head
	Metadata  []string   // for a head
}

// Join gets a node its credentials from the head at an address. hosts are the
// names and addresses of a node that is to be a head itself, else nil.
func Join(ctx context.Context, address, secret string, n id.Node, hosts []string) (*Admission, error) {
	t, err := token.Parse(secret)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	reply, err := post(ctx, address, t.TLS(Protocol), &peerv1.JoinRequest{Token: secret, Node: n[:], Key: public, Head: hosts != nil, Hosts: hosts})
	if err != nil {
		return nil, fmt.Errorf("join the cluster at %s: %w", address, err)
	}
	if reply.Error != "" {
		return nil, fmt.Errorf("join the cluster at %s: %s", address, reply.Error)
	}
	a := &Admission{Metadata: reply.Metadata}
	if a.Head, err = wire.ReadNode(reply.Head); err != nil {
		return nil, err
	}
	if a.Credentials, err = newCredentials(reply.Certificate, reply.Authority, key); err != nil || hosts == nil {
		return a, err
	}
	signing, err := parseKey(reply.AuthorityKey)
	if err != nil {
		return nil, fmt.Errorf("identity: the authority's key: %w", err)
	}
	a.Authority, err = newAuthority(reply.Authority, signing)
	return a, err
}

// post asks a head, and trusts none but those that cfg does.
func post(ctx context.Context, address string, cfg *tls.Config, req *peerv1.JoinRequest) (*peerv1.JoinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	dialer := &tls.Dialer{Config: cfg}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	body, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	out, err := exchange(ctx, conn, body)
	if err != nil {
		return nil, err
	}
	var reply peerv1.JoinReply
	if err := reply.UnmarshalVT(out); err != nil {
		return nil, err
	}
	return &reply, nil
}

// exchange posts body over a connection and returns the answer.
func exchange(ctx context.Context, conn io.ReadWriter, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://head/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(io.LimitReader(res.Body, maxJoin))
}
