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
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/wire"
)

const (
	chunkSize = 4 << 20 // bytes that one request asks for
	abreast   = 2       // requests of one Read at a time, for each source
	tries     = 3       // requests for a chunk that comes corrupted, at each source
)

var errCorrupted = errors.New("the bytes that came do not have their checksum")

// Pull reads what another node serves by a name. The reader must be closed; it
// ends with an error if ctx does. Reads of many bytes are the fastest: they go
// straight into the caller's memory, which has what is right only once they
// return without an error. Not for concurrent use. A node that cannot be reached
// is asked again until it has been forgotten, or for so long that the error has
// code Timeout; with any other one the bytes are not there.
func (p *Peers) Pull(ctx context.Context, from id.Node, name string) (io.ReadCloser, error) {
	return p.PullAny(ctx, []id.Node{from}, name)
}

// PullAny is Pull from any of several nodes that have the same bytes, or from all
// of them at once.
func (p *Peers) PullAny(ctx context.Context, from []id.Node, name string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.ctx, cancel)
	r := &puller{p: p, ctx: ctx, name: name, from: from, cancel: func() { stop(); cancel() }}
	err := r.anyOf(0, func(n id.Node) (err error) {
		r.head, r.size, err = r.ask(n, 0, chunkSize) //nolint:bodyclose // whole or the puller closes it
		return err
	})
	if err != nil {
		r.cancel()
		return nil, err
	}
	if r.size < 0 {
		return whole{r.head.Body, r.cancel}, nil
	}
	return r, nil
}

// anyOf has the sources asked in turn, from the i-th on, until one has answered.
func (r *puller) anyOf(i int, ask func(id.Node) error) error {
	end, pause := time.Now().Add(r.p.cfg.PullAfter), firstPause
	for try := 1; ; try++ {
		var errs error
		again := false
		for k := range r.from {
			n := r.from[(i+k)%len(r.from)]
			err := ask(n)
			if err == nil || r.ctx.Err() != nil {
				return err
			}
			again = again || !r.p.isDead(n) && (unreached(err) || try < tries && errors.Is(err, errCorrupted))
			errs = errors.Join(errs, fmt.Errorf("pull %s of node %s: %w", r.name, n, err))
		}
		if !again {
			return errs
		}
		if time.Now().After(end) {
			return &wire.Error{Code: wire.Timeout, Op: "pull", Message: fmt.Sprintf("no answer for %v: %v", r.p.cfg.PullAfter, errs), Err: errs}
		}
		select {
		case <-r.ctx.Done():
			return r.ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// unreached reports whether a source has not said anything.
func unreached(err error) bool {
	return (transient(err) || refused(err) || errors.Is(err, io.ErrUnexpectedEOF)) && !errors.Is(err, errStranger)
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
	came   func(from, to int64)
}

// Notify has came called for each part that is where it belongs, before the Read
// returns that asked for it, maybe at the same time as for others.
func (r *puller) Notify(came func(from, to int64)) { r.came = came }

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
				part := b[i*chunkSize : min((i+1)*chunkSize, int64(len(b)))]
				offset := r.at + i*chunkSize
				if errs[w] = r.chunk(int(i), offset, part, come); errs[w] != nil {
					failed.Store(1)
				} else if r.came != nil {
					r.came(offset, offset+int64(len(part)))
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
	return r.anyOf(i, func(n id.Node) error {
		res := come
		come = nil
		return r.chunkOf(n, offset, b, res)
	})
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
		err = errCorrupted
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
