package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weftrun/weft/internal/id"
)

const (
	chunkSize = 4 << 20 // bytes that one request asks for
	abreast   = 2       // requests of one Read at a time, for each source
	tries     = 3       // requests for one chunk, at each source
)

// Pull reads what another node serves by a name. The reader must be closed; it
// ends with an error if ctx does. Reads of many bytes are the fastest: they go
// straight into the caller's memory, which has what is right only once they
// return without an error. Not for concurrent use.
func (p *Peers) Pull(ctx context.Context, from id.Node, name string) (io.ReadCloser, error) {
	return p.PullAny(ctx, []id.Node{from}, name)
}

// PullAny is Pull from any of several nodes that have the same bytes, or from all
// of them at once.
func (p *Peers) PullAny(ctx context.Context, from []id.Node, name string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.ctx, cancel)
	r := &puller{p: p, ctx: ctx, name: name, from: from, cancel: func() { stop(); cancel() }}
	var errs error
	for _, n := range from {
		res, size, err := r.ask(n, 0, chunkSize) //nolint:bodyclose // whole or the puller closes it
		if err == nil && size < 0 {
			return whole{res.Body, r.cancel}, nil
		}
		if err == nil {
			r.head, r.size = res, size
			return r, nil
		}
		errs = errors.Join(errs, fmt.Errorf("pull %s of node %s: %w", name, n, err))
	}
	r.cancel()
	return nil, errs
}

// whole is an answer that has everything.
type whole struct {
	io.ReadCloser
	cancel func()
}

// Close implements io.Closer.
func (w whole) Close() error { w.cancel(); return w.ReadCloser.Close() }

// puller reads something in chunks.
type puller struct {
	p      *Peers
	ctx    context.Context
	cancel func()
	name   string
	from   []id.Node
	size   int64
	at     int64
	head   *http.Response // that has the first chunk, until it is read
	ahead  []byte         // of a chunk that has come, for a small Read
}

// Read implements io.Reader.
func (r *puller) Read(b []byte) (int, error) {
	left := r.size - r.at
	switch {
	case len(r.ahead) > 0:
	case left == 0:
		return 0, io.EOF
	case int64(len(b)) >= min(left, chunkSize):
		b = b[:min(int64(len(b)), left)]
		if err := r.fill(b); err != nil {
			return 0, err
		}
		r.at += int64(len(b))
		return len(b), nil
	default:
		next := make([]byte, min(left, chunkSize))
		if err := r.fill(next); err != nil {
			return 0, err
		}
		r.at += int64(len(next))
		r.ahead = next
	}
	n := copy(b, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *puller) Close() error {
	r.cancel()
	if r.head != nil {
		_ = r.head.Body.Close()
	}
	return nil
}

// fill reads the chunks that make up b, several at a time.
func (r *puller) fill(b []byte) error {
	var (
		next, failed atomic.Int64
		wg           sync.WaitGroup
		chunks       = (int64(len(b)) + chunkSize - 1) / chunkSize
		errs         = make([]error, min(chunks, int64(abreast*len(r.from))))
		head         = r.head
	)
	r.head = nil
	for w := range errs {
		wg.Go(func() {
			for failed.Load() == 0 {
				i := next.Add(1) - 1
				if i >= chunks {
					return
				}
				var come *http.Response
				if i == 0 {
					come = head
				}
				if errs[w] = r.chunk(int(i), r.at+i*chunkSize, b[i*chunkSize:min((i+1)*chunkSize, int64(len(b)))], come); errs[w] != nil {
					failed.Store(1)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// chunk reads one chunk, the i-th of a Read, at an offset. Come is an answer that
// has it, if there is one.
func (r *puller) chunk(i int, offset int64, b []byte, come *http.Response) error {
	var errs error
	for try := range tries * len(r.from) {
		n := r.from[(i+try)%len(r.from)]
		err := r.chunkOf(n, offset, b, come)
		if err == nil || r.ctx.Err() != nil {
			return err
		}
		come = nil
		errs = errors.Join(errs, fmt.Errorf("pull %s of node %s at %d: %w", r.name, n, offset, err))
	}
	return errs
}

func (r *puller) chunkOf(n id.Node, offset int64, b []byte, res *http.Response) (err error) {
	size := r.size
	if res == nil {
		if res, size, err = r.ask(n, offset, len(b)); err != nil {
			return err
		}
	}
	defer func() { _ = res.Body.Close() }()
	if size != r.size {
		return fmt.Errorf("it has %d bytes there, and %d elsewhere", size, r.size)
	}
	return readChunk(res, b)
}

// readChunk reads an answer to ask and compares its checksum.
func readChunk(res *http.Response, b []byte) error {
	_, err := io.ReadFull(res.Body, b)
	if err == nil {
		_, err = res.Body.Read(make([]byte, 1)) // so that the connection is used again
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if want := res.Header.Get(checksumHeader); err == nil && want != checksum(b) {
		err = fmt.Errorf("the bytes that came do not have the checksum %s", want)
	}
	return err
}

// ask requests part of what a node serves. The size is that of all, -1 if the
// answer has all of it and no checksum.
func (r *puller) ask(n id.Node, offset int64, length int) (*http.Response, int64, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "http://"+n.String()+pullPath+r.name, http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+int64(length)-1))
	res, err := r.p.pulls.RoundTrip(req)
	if err != nil {
		return nil, 0, err
	}
	switch _, total, _ := strings.Cut(res.Header.Get("Content-Range"), "/"); res.StatusCode {
	case http.StatusOK:
		return res, -1, nil
	case http.StatusPartialContent:
		var size int64
		if _, err = fmt.Sscan(total, &size); err == nil {
			return res, size, nil
		}
	default:
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		err = fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(why)))
	}
	_ = res.Body.Close()
	return nil, 0, err
}
