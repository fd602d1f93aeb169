package remote

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

const (
	// keptPrograms is how many a Gateway keeps for drivers that come again.
	keptPrograms = 8
	// maxProgram bounds one, in bytes.
	maxProgram = 2 << 30
)

// programs are files by the hash of their content.
type programs struct {
	dir string
	mu  sync.Mutex // around what is renamed and removed
}

func (p *programs) path(hash []byte) string { return filepath.Join(p.dir, hex.EncodeToString(hash)) }

func (p *programs) has(hash []byte) bool {
	info, err := os.Stat(p.path(hash))
	return err == nil && info.Mode().IsRegular()
}

// incoming is a program on its way.
type incoming struct {
	want []byte
	file *os.File
	sum  hash.Hash
	left uint64
}

// receive begins or goes on with in, which is nil at first, and reports whether
// the program is complete.
func (p *programs) receive(in *incoming, want []byte, m *sessionv1.Chunk) (_ *incoming, done bool, err error) {
	if in == nil {
		if len(want) != sha256.Size || m.Size == 0 || m.Size > maxProgram {
			return nil, false, &wire.Error{Code: wire.Protocol, Message: fmt.Sprintf("a program of %d bytes that was not announced", m.Size)}
		}
		if err := os.MkdirAll(p.dir, 0o700); err != nil {
			return nil, false, err
		}
		f, err := os.CreateTemp(p.dir, ".new-")
		if err != nil {
			return nil, false, err
		}
		in = &incoming{want: want, file: f, sum: sha256.New(), left: m.Size}
	}
	if uint64(len(m.Data)) > in.left {
		return in, false, &wire.Error{Code: wire.Protocol, Message: "a program is longer than it was said to be"}
	}
	in.left -= uint64(len(m.Data))
	if _, err := io.MultiWriter(in.file, in.sum).Write(m.Data); err != nil || in.left > 0 {
		return in, false, err
	}
	return nil, true, p.keep(in)
}

// keep gives a complete program its name.
func (p *programs) keep(in *incoming) error {
	if !bytes.Equal(in.sum.Sum(nil), in.want) {
		in.discard()
		return &wire.Error{Code: wire.Protocol, Message: "a program is not the one that was announced"}
	}
	if err := errors.Join(in.file.Chmod(0o700), in.file.Close()); err != nil {
		_ = os.Remove(in.file.Name())
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := os.Rename(in.file.Name(), p.path(in.want))
	return errors.Join(err, p.tidy())
}

// tidy removes all but the newest; who runs one has it open.
func (p *programs) tidy() error {
	files, err := filepath.Glob(filepath.Join(p.dir, "[0-9a-f]*"))
	if err != nil || len(files) <= keptPrograms {
		return err
	}
	age := map[string]int64{}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			age[f] = info.ModTime().UnixNano()
		}
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(age[b], age[a]) })
	for _, f := range files[keptPrograms:] {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

func (in *incoming) discard() {
	if in != nil {
		_ = in.file.Close()
		_ = os.Remove(in.file.Name())
	}
}

// program is what a driver has its Go workers started from.
type program struct {
	file *os.File // nil: there is none
	hash []byte
	size int64
}

// openProgram opens the program at path, or else the one that Hello names.
func openProgram(path string, hello *sessionv1.Hello) (*program, error) {
	if path == "" {
		path = hello.Programs[wire.Go]
	}
	if path == "" {
		return &program{}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &wire.Error{Code: wire.SetupFailed, Message: "the program of the job's Go workers cannot be opened", Err: err}
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &program{file: f, hash: sum.Sum(nil), size: size}, nil
}

func (p *program) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}

// send sends the program to who does not have it.
func (p *program) send(l *link) error {
	buf := make([]byte, maxChunk)
	for {
		n, err := p.file.Read(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = l.send(sessionv1.Kind_KIND_CHUNK, &sessionv1.Chunk{Size: uint64(p.size), Data: buf[:n]})
		}
		if err != nil {
			return err
		}
	}
}
