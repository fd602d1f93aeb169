package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// Credentials are what a node shows to others, and by what it knows them.
type Credentials struct {
	cert      tls.Certificate // with the authority's behind it
	authority *x509.Certificate
}

// NewCredentials makes those of a head, which signs its own.
func (a *Authority) NewCredentials(n id.Node, hosts []string) (*Credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := a.sign(n, &key.PublicKey, hosts)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return newCredentials(der, a.cert.Raw, key)
}

func newCredentials(der, authority []byte, key *ecdsa.PrivateKey) (*Credentials, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("identity: the node's certificate: %w", err)
	}
	ca, err := x509.ParseCertificate(authority)
	if err != nil {
		return nil, fmt.Errorf("identity: the authority's certificate: %w", err)
	}
	return &Credentials{authority: ca, cert: tls.Certificate{Certificate: [][]byte{der, authority}, PrivateKey: key, Leaf: leaf}}, nil
}

// TLS is for connections to and from other nodes.
func (c *Credentials) TLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.authority)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.cert}, RootCAs: pool, ClientCAs: pool}
}

// Files writes the credentials as PEM files into a folder and returns their
// paths: for software that wants such.
func (c *Credentials) Files(dir string) (cert, key, authority string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.cert.PrivateKey)
	if err != nil {
		return "", "", "", err
	}
	cert, key, authority = filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key"), filepath.Join(dir, "ca.crt")
	return cert, key, authority, errors.Join(os.MkdirAll(dir, 0o700), writePEM(cert, "CERTIFICATE", c.cert.Certificate[0]),
		writePEM(key, "PRIVATE KEY", der), writePEM(authority, "CERTIFICATE", c.authority.Raw))
}

// nodeURL is a node's name in its certificate.
func nodeURL(n id.Node) *url.URL {
	return &url.URL{Scheme: "weft", Host: "node", Path: "/" + n.String()}
}

// Identify returns the node that a verified certificate names.
func Identify(s *tls.ConnectionState) (n id.Node, err error) {
	if len(s.PeerCertificates) == 0 {
		return n, errors.New("identity: the other side has no certificate")
	}
	for _, u := range s.PeerCertificates[0].URIs {
		if u.Scheme == "weft" && u.Host == "node" {
			return id.ParseNode(strings.TrimPrefix(u.Path, "/"))
		}
	}
	return n, errors.New("identity: the other side's certificate names no node")
}
