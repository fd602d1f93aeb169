package worker

import (
	"bytes"
	"os"
	"strings"
)

const (
	// maxLine is the longest part of a line that is handed on at once.
	maxLine = 8 << 10
	// tailLines and tailWidth bound what is kept for an error.
	tailLines = 20
	tailWidth = 500
)

// Indices of a Process's streams.
const (
	stdout = iota
	stderr
)

// A stream is one of a process's outputs.
type stream struct {
	pipe *os.File
}

// read hands lines on until the pipe's end.
func (p *Process) read(isStderr bool) {
	pipe := p.output[stdout].pipe
	if isStderr {
		pipe = p.output[stderr].pipe
	}
	buf := make([]byte, maxLine)
	n := 0
	for {
		got, err := pipe.Read(buf[n:])
		n += got
		rest := p.lines(buf[:n], isStderr)
		n = copy(buf, rest)
		if n == len(buf) || err != nil && n > 0 {
			p.line(buf[:n], isStderr)
			n = 0
		}
		if err != nil {
			return // its end, or the deadline after the process's
		}
	}
}

// lines hands on the complete lines of b and returns the rest.
func (p *Process) lines(b []byte, isStderr bool) []byte {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return b
		}
		p.line(bytes.TrimSuffix(b[:i], []byte{'\r'}), isStderr)
		b = b[i+1:]
	}
}

func (p *Process) line(line []byte, isStderr bool) {
	p.printing.Lock()
	defer p.printing.Unlock()
	if isStderr {
		p.tails[0].add(line)
	}
	p.tails[1].add(line)
	if p.spec.Output != nil {
		p.spec.Output(line, isStderr)
	}
}

// A tail keeps the last lines.
type tail struct {
	lines [tailLines][]byte
	n     int // ever
}

func (t *tail) add(line []byte) {
	at := &t.lines[t.n%tailLines]
	t.n++
	if len(line) > tailWidth {
		*at = append(append((*at)[:0], line[:tailWidth]...), "…"...)
	} else {
		*at = append((*at)[:0], line...)
	}
}

// String is the lines, oldest first, each with its end.
func (t *tail) String() string {
	var b strings.Builder
	for i := max(0, t.n-tailLines); i < t.n; i++ {
		b.Write(bytes.ToValidUTF8(t.lines[i%tailLines], []byte("?")))
		b.WriteByte('\n')
	}
	return b.String()
}
