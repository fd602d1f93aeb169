package worker

import (
	"bytes"
	"os"
	"slices"
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

// A tail keeps the last lines. A Go program that crashes says why first and
// then lists its goroutines, so the beginning of a crash is kept too.
type tail struct {
	lines [tailLines]string
	n     int      // ever
	crash []string // the last lines that look like the beginning of a crash
	first int      // the number of crash's first line, counted from 1; 0 is none
}

// crashLines of the tailLines are for the beginning of a crash, if that has
// scrolled out.
const crashLines = 12

var crashMarks = []string{"panic: ", "fatal error: ", "runtime: ", "SIG"}

func (t *tail) add(b []byte) {
	line := strings.ToValidUTF8(string(b[:min(len(b), tailWidth)]), "?")
	t.lines[t.n%tailLines] = line
	t.n++
	recent := t.first > 0 && t.n-t.first < crashLines
	if !recent && slices.ContainsFunc(crashMarks, func(m string) bool { return strings.HasPrefix(line, m) }) {
		t.crash, t.first, recent = t.crash[:0], t.n, true
	}
	if recent {
		t.crash = append(t.crash, line)
	}
}

// String is the lines, oldest first, each with its end.
func (t *tail) String() string {
	var b strings.Builder
	from := max(0, t.n-tailLines)
	if t.first > 0 && t.first <= from {
		for _, line := range t.crash {
			b.WriteString(line + "\n")
		}
		b.WriteString("...\n")
		from = max(t.first-1+len(t.crash), t.n-(tailLines-crashLines))
	}
	for i := from; i < t.n; i++ {
		b.WriteString(t.lines[i%tailLines] + "\n")
	}
	return b.String()
}
