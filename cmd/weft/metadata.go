package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/weftrun/weft/internal/control/etcd"
	"github.com/weftrun/weft/internal/identity"
)

// metadataPlace is where a head's member of the metadata store listens. It is
// kept, for the other members know it by that.
type metadataPlace struct {
	Name   string `json:"name"`
	Client string `json:"client"`
	Peer   string `json:"peer"`
}

// startEtcd runs a head's member of the metadata store, which others reach with
// certificates of the cluster alone.
func startEtcd(ctx context.Context, cfg *nodeConfig, c *identity.Credentials, certs string, others []string) (*etcd.Member, error) {
	dir := filepath.Join(cfg.Dir, "metadata")
	place, err := openPlace(dir, cfg)
	if err != nil {
		return nil, fmt.Errorf("the cluster's metadata: %w", err)
	}
	t := &etcd.TLS{}
	if t.Cert, t.Key, t.CA, err = c.Files(certs); err != nil {
		return nil, err
	}
	m, err := etcd.Start(ctx, etcd.Config{Dir: filepath.Join(dir, "etcd"), Name: place.Name, Client: place.Client, Peer: place.Peer,
		Join: others, TLS: t, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("the cluster's metadata: %w", err)
	}
	return m, nil
}

// openPlace reads where the member listens, or chooses it.
func openPlace(dir string, cfg *nodeConfig) (p metadataPlace, err error) {
	path := filepath.Join(dir, "place.json")
	b, err := os.ReadFile(path)
	if err == nil {
		return p, json.Unmarshal(b, &p)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	host, _, err := net.SplitHostPort(cfg.listen)
	if cfg.known != "" {
		host, _, err = net.SplitHostPort(cfg.known)
	}
	if err != nil {
		return p, err
	}
	client, err1 := freePort(host)
	peer, err2 := freePort(host)
	p = metadataPlace{Name: "head-" + client, Client: memberURL(host, client), Peer: memberURL(host, peer)}
	b, err3 := json.Marshal(p)
	if err := errors.Join(err1, err2, err3, os.MkdirAll(dir, 0o700)); err != nil {
		return p, err
	}
	return p, os.WriteFile(path, b, 0o600)
}

func memberURL(host, port string) string {
	return (&url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}).String()
}

// freePort is one that nobody listens at now.
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0")) //nolint:noctx // it returns at once
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
