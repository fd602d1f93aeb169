package peer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// pullPath is where what is pulled lies, by its name.
const pullPath = "/v1/pull/"

func (p *Peers) newHTTP() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pullPath+"{name...}", p.servePull)
	return &http.Server{Handler: mux, ReadHeaderTimeout: answerTime, IdleTimeout: 2 * p.cfg.Idle,
		BaseContext: func(net.Listener) context.Context { return p.ctx }, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
}

func (p *Peers) newTransport() *http.Transport {
	return &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: p.cfg.Idle,
		DialContext: func(ctx context.Context, _, host string) (net.Conn, error) {
			name, _, _ := strings.Cut(host, ":")
			n, err := id.ParseNode(name)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, answerTime)
			defer cancel()
			c, err := p.connect(ctx, n, "http/1.1")
			if err != nil {
				return nil, err
			}
			return c.Conn, nil
		},
	}
}

// Pull reads what another node serves by a name. The reader must be closed; it
// ends with an error if ctx does.
func (p *Peers) Pull(ctx context.Context, from id.Node, name string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+from.String()+pullPath+name, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := p.pulls.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("pull %s of node %s: %w", name, from, err)
	}
	if res.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		_ = res.Body.Close()
		return nil, fmt.Errorf("pull %s of node %s: %s: %s", name, from, res.Status, strings.TrimSpace(string(why)))
	}
	return res.Body, nil
}

// servePull answers one pull.
func (p *Peers) servePull(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		return
	}
	defer p.wg.Done()
	if r.TLS != nil {
		if _, err := p.cfg.Identify(r.TLS); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	src, err := p.cfg.Serve(r.Context(), r.PathValue("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer func() { _ = src.Close() }()
	if _, err := io.Copy(w, src); err != nil {
		panic(http.ErrAbortHandler) // the other side must not take it for complete
	}
}
