package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/weftrun/weft/internal/id"
)

// whoPath answers with the id of the node that serves there.
const whoPath = "/v1/node"

// Who returns the id of the node that listens at an address: that is how a node
// which knows only that comes into a cluster.
func (p *Peers) Who(ctx context.Context, address string) (id.Node, error) {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: p.cfg.TLS}
	defer transport.CloseIdleConnections()
	scheme := "http://"
	if p.cfg.TLS != nil {
		scheme = "https://"
	}
	n, err := who(ctx, transport, scheme+address+whoPath)
	if err != nil {
		return n, fmt.Errorf("no node of a cluster answers at %s: %w", address, err)
	}
	return n, nil
}

func who(ctx context.Context, t http.RoundTripper, url string) (n id.Node, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return n, err
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return n, err
	}
	if res.StatusCode != http.StatusOK {
		return n, fmt.Errorf("%s: %s", res.Status, body)
	}
	return id.ParseNode(string(body))
}

func (p *Peers) serveWho(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, p.cfg.Self.String())
}
