package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/leak"
)

// authority is a cluster's CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	cert := a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate; the authority's own if it has none.
func (a *authority) sign(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// node is the TLS of a node.
func (a *authority) node(t *testing.T, n id.Node) *tls.Config {
	t.Helper()
	cert := a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), URIs: []*url.URL{{Scheme: "weft", Host: "cluster", Path: "/node/" + n.String()}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}})
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: a.pool, ClientCAs: a.pool, MinVersion: tls.VersionTLS13}
}

func identify(s *tls.ConnectionState) (id.Node, error) {
	for _, u := range s.PeerCertificates[0].URIs {
		return id.ParseNode(u.Path[len("/node/"):])
	}
	return id.Node{}, errors.New("the certificate is of no node")
}

// secure gives a party the certificate of a node.
func (a *authority) secure(t *testing.T, n id.Node) func(*Config) {
	return func(c *Config) { c.TLS, c.Identify = a.node(t, n), identify }
}

// With TLS everything works as without.
func TestSecure(t *testing.T) {
	leak.Check(t)
	w, ca := newWires(), newAuthority(t)
	a, b := w.party(t, 1, ca.secure(t, id.Node{1})), w.party(t, 2, ca.secure(t, id.Node{2}))
	a.send(b, 1, 1000, 100)
	b.send(a, 1, 1000, 100)
	a.until(t, "messages", a.has(b, 1000))
	b.until(t, "messages", b.has(a, 1000))
	if got := a.pull(t, b, "something"); got != "something" {
		t.Error(got)
	}
}

// Who has no certificate of the cluster's CA is refused, on both sides, as is
// who has that of another node.
func TestWrongCertificates(t *testing.T) {
	leak.Check(t)
	ca := newAuthority(t)
	other := newAuthority(t)
	for name, change := range map[string]func(*Config){
		"of another CA":   other.secure(t, id.Node{2}),
		"of another node": ca.secure(t, id.Node{3}),
		"none":            func(*Config) {},
		"expects another CA": func(c *Config) {
			ca.secure(t, id.Node{2})(c)
			c.TLS.RootCAs, c.TLS.ClientCAs = other.pool, other.pool
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWires()
			briefly := func(change func(*Config)) func(*Config) {
				return func(c *Config) { change(c); c.PullAfter = time.Millisecond }
			}
			a, b := w.party(t, 1, briefly(ca.secure(t, id.Node{1}))), w.party(t, 2, briefly(change))
			a.send(b, 1, 1, 0)
			a.until(t, "a report", func() bool { return a.told(Broken, b.id)() || a.told(Refused, b.id)() })
			b.send(a, 1, 1, 0)
			b.until(t, "a report", func() bool { return b.told(Broken, a.id)() || b.told(Refused, a.id)() })
			if a.came+b.came > 0 {
				t.Error("a message came")
			}
			if _, err := a.Pull(t.Context(), b.id, "x"); err == nil {
				t.Error("a pulled")
			}
			if _, err := b.Pull(t.Context(), a.id, "x"); err == nil && name != "of another node" { // which may pull
				t.Error("b pulled")
			}
		})
	}
}

// Without TLS only loopback is served.
func TestPlainOnlyOnLoopback(t *testing.T) {
	leak.Check(t)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{Self: id.Node{1}})
	if err := p.Serve(l); err == nil {
		t.Error("it was served")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
