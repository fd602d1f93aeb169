package peer

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

const (
	pullPath       = "/v1/pull/" // and the name
	checksumHeader = "Weft-Crc32c"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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

// servePull answers one pull: of a range, with its checksum, if the bytes are in
// memory and one is asked for, or of everything. It writes from the mapping, which
// the open source pins; sendfile would send what a page holds later.
func (p *Peers) servePull(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		panic(http.ErrAbortHandler) // no answer is not an empty one
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
	asked := r.Header.Get("Range")
	if m, ok := src.(interface{ Bytes() []byte }); ok && asked != "" {
		data := m.Bytes()
		serveRange(w, asked, func(first, last int64) ([]byte, int64, error) { return part(data, first, last) })
	} else if m, ok := src.(parts); ok && asked != "" {
		serveRange(w, asked, m.Part)
	} else if _, err := io.Copy(w, src); err != nil {
		panic(http.ErrAbortHandler) // the other side must not take it for complete
	}
}

// parts is what may not be whole yet: it returns bytes from one offset up to
// another, or its end, when they are there, and how many it has in all.
type parts interface {
	Part(from, to int64) (data []byte, size int64, err error)
}

func part(data []byte, from, to int64) ([]byte, int64, error) {
	size := int64(len(data))
	if from > size {
		return nil, size, errors.New("it has fewer bytes")
	}
	return data[from:min(to, size)], size, nil
}

// serveRange answers with part of something. A range goes no further than that does.
func serveRange(w http.ResponseWriter, asked string, get func(from, to int64) ([]byte, int64, error)) {
	var first, last int64
	if n, err := fmt.Sscanf(asked, "bytes=%d-%d", &first, &last); n != 2 || err != nil || first < 0 || first > last || last == math.MaxInt64 {
		http.Error(w, "no such range: "+asked, http.StatusRequestedRangeNotSatisfiable)
		return
	}
	part, size, err := get(first, last+1)
	if err != nil {
		http.Error(w, "no such range: "+asked+": "+err.Error(), http.StatusRequestedRangeNotSatisfiable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(part)))
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+int64(len(part))-1, size))
	h.Set(checksumHeader, checksum(part))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(part)
}

// checksum is the CRC32C of data, in hex.
func checksum(data []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(data, castagnoli)), 16)
}
