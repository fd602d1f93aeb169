package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/weftrun/weft/internal/id"
)

// How long certificates are good for, and how far two clocks may differ.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	nodeLife      = 365 * 24 * time.Hour
	skew          = time.Hour
)

// Files of an Authority in its folder.
const (
	authorityCert = "authority.crt"
	authorityKey  = "authority.key"
)

// Authority signs the certificates of a cluster's nodes.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a new cluster.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	var cluster [8]byte
	rand.Read(cluster[:])
	t := template(authorityLife)
	t.Subject = pkix.Name{CommonName: "Weft cluster " + hex.EncodeToString(cluster[:])}
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return newAuthority(der, key)
}

func newAuthority(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("identity: the authority's certificate: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// OpenAuthority reads the authority of a folder, or makes one there.
func OpenAuthority(dir string) (*Authority, error) {
	a, err := readAuthority(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	if a, err = NewAuthority(); err != nil {
		return nil, err
	}
	return a, a.Save(dir)
}

func readAuthority(dir string) (*Authority, error) {
	cert, err := readPEM(filepath.Join(dir, authorityCert))
	if err != nil {
		return nil, err
	}
	der, err := readPEM(filepath.Join(dir, authorityKey))
	if err != nil {
		return nil, err
	}
	key, err := parseKey(der)
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w", filepath.Join(dir, authorityKey), err)
	}
	return newAuthority(cert, key)
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T, not an ECDSA key", key)
	}
	return ec, nil
}

func readPEM(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("identity: %s is no PEM file", path)
	}
	return block.Bytes, nil
}

// Save writes the authority into a folder, which only its user can enter.
func (a *Authority) Save(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(dir, 0o700),
		writePEM(filepath.Join(dir, authorityKey), "PRIVATE KEY", key), // first: a certificate says that both are there
		writePEM(filepath.Join(dir, authorityCert), "CERTIFICATE", a.cert.Raw))
}

// writePEM replaces a file as a whole.
func writePEM(path, kind string, der []byte) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return os.Rename(fresh, path)
}

// Cluster is the cluster's name.
func (a *Authority) Cluster() string { return a.cert.Subject.CommonName }

// sign makes the certificate of a node that has key. hosts are what a client
// that knows no ids may call it.
func (a *Authority) sign(n id.Node, key any, hosts []string) ([]byte, error) {
	t := template(nodeLife)
	t.Subject = pkix.Name{CommonName: "Weft node " + n.String()}
	t.URIs = []*url.URL{nodeURL(n)}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
}

func template(life time.Duration) *x509.Certificate {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // there is no randomness
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: number, NotBefore: now.Add(-skew), NotAfter: now.Add(life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}
