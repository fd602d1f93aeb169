package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	eventv1 "github.com/weftrun/weft/internal/gen/event/v1"
	"github.com/weftrun/weft/internal/id"
)

// What a segment looks like is written in proto/event/v1/event.proto.
const (
	segmentMagic  = "WEFTEVT1"
	segmentPrefix = "events-"
	segmentSuffix = ".weft"
	frameHeader   = 8
	maxFrame      = 16 << 20 // a longer one is garbage
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SegmentConfig says where events go on disk and how much of it they may take.
type SegmentConfig struct {
	Dir          string // made if it is not there
	SegmentBytes int64  // a file is closed at that size; default 8 MiB
	TotalBytes   int64  // the oldest files go; default 64 MiB, at least two segments
}

// Segments is a Sink that appends events to files, which [ReadSegments] reads
// even after a crash. A file's write that fails is a gap; the next one goes to
// a new file. It does not sync: a crash of the machine loses the last seconds.
type Segments struct {
	cfg   SegmentConfig
	node  id.Node
	start time.Time
	next  int // number of the next file

	file   *os.File
	size   int64
	names  map[string]uint32 // of the current file
	missed uint64            // not written yet
	batch  eventv1.Batch
	buf    []byte
}

// OpenSegments returns a Sink for the events of l. It starts a new file, after
// those that are there.
func OpenSegments(l *Log, cfg SegmentConfig) (*Segments, error) {
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = 8 << 20
	}
	if cfg.TotalBytes <= 0 {
		cfg.TotalBytes = 64 << 20
	}
	cfg.TotalBytes = max(cfg.TotalBytes, 2*cfg.SegmentBytes)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("event segments: %w; choose another directory", err)
	}
	files, err := segmentFiles(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Segments{cfg: cfg, node: l.Node(), start: l.Start(), next: 1}
	if n := len(files); n > 0 {
		s.next = files[n-1].number + 1
	}
	return s, nil
}

// Write implements Sink.
func (s *Segments) Write(entries []Entry, missed uint64) error {
	s.missed += missed
	if s.file != nil && s.size >= s.cfg.SegmentBytes {
		if err := s.finish(); err != nil {
			return err
		}
	}
	if s.file == nil {
		if err := s.begin(); err != nil {
			s.missed += uint64(len(entries))
			return err
		}
	}
	s.encode(entries)
	if err := s.frame(&s.batch); err != nil {
		s.missed += uint64(len(entries))
		for _, name := range s.batch.Names {
			delete(s.names, name) // they are the newest, so indexes stay dense
		}
		return err
	}
	s.missed = 0
	return nil
}

// Close implements Sink.
func (s *Segments) Close() error { return s.finish() }

// begin opens the next file and makes room for it.
func (s *Segments) begin() error {
	if err := s.prune(); err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Dir, fmt.Sprintf("%s%08d%s", segmentPrefix, s.next, segmentSuffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("event segments: %w", err)
	}
	s.next++
	s.file, s.size, s.names = f, 0, map[string]uint32{"": 0}
	if err := s.frame(&eventv1.Header{Node: s.node[:], StartUnixNano: s.start.UnixNano()}); err != nil {
		return errors.Join(err, s.finish(), os.Remove(path)) // a full disk does not fill with empty files
	}
	return nil
}

func (s *Segments) finish() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// prune removes the oldest files until one more has room.
func (s *Segments) prune() error {
	files, err := segmentFiles(s.cfg.Dir)
	if err != nil {
		return err
	}
	total := s.cfg.SegmentBytes
	for _, f := range files {
		total += f.size
	}
	for _, f := range files {
		if total <= s.cfg.TotalBytes {
			break
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("event segments: making room: %w", err)
		}
		total -= f.size
	}
	return nil
}

// encode fills s.batch, reusing what it has.
func (s *Segments) encode(entries []Entry) {
	b := &s.batch
	b.Names, b.Missed = b.Names[:0], s.missed
	b.Records = slices.Grow(b.Records[:0], len(entries))
	for i := range entries {
		b.Records = b.Records[:i+1]
		if b.Records[i] == nil {
			b.Records[i] = new(eventv1.Record)
		}
		s.record(b.Records[i], &entries[i])
	}
}

func (s *Segments) record(r *eventv1.Record, e *Entry) {
	r.At, r.Ran, r.Bytes, r.Text = int64(e.At), int64(e.Ran), e.Bytes, e.Text
	r.Kind, r.Cause, r.Name = s.name(e.Kind.bare().String()), s.name(e.Cause.String()), s.name(e.Label)
	r.Worker, r.Queued = uint32(e.Worker), uint64(e.Queued)*uint64(time.Microsecond)
	r.Count, r.Number, r.NumberIs = 0, e.N, s.name(e.Kind.numberIs())
	if e.Kind&Counted != 0 {
		r.Count, r.Number = e.N, 0
	}
	r.Id = append(r.Id[:0], e.ID[:idBytes[e.Kind.subject()]]...)
	r.Job = r.Job[:0]
	if !e.Job.IsZero() {
		r.Job = append(r.Job, e.Job[:]...)
	}
}

// name returns the index of a name in the current file, and adds a new one.
func (s *Segments) name(name string) uint32 {
	if i, ok := s.names[name]; ok {
		return i
	}
	i := uint32(len(s.names))
	s.names[name] = i
	s.batch.Names = append(s.batch.Names, name)
	return i
}

// message is what vtproto generates.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT(buf []byte) (int, error)
}

// frame writes one message with one call, the first one after the magic. What
// a failed write has left is cut off; if that fails too, it reads as torn.
func (s *Segments) frame(m message) error {
	s.buf = s.buf[:0]
	if s.size == 0 {
		s.buf = append(s.buf, segmentMagic...)
	}
	at, n := len(s.buf), m.SizeVT()
	s.buf = slices.Grow(s.buf, frameHeader+n)[:at+frameHeader+n]
	head, body := s.buf[at:], s.buf[at+frameHeader:]
	if _, err := m.MarshalToSizedBufferVT(body); err != nil {
		return fmt.Errorf("event segments: %w", err)
	}
	binary.LittleEndian.PutUint32(head, uint32(n))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(body, castagnoli))
	written, err := s.file.WriteAt(s.buf, s.size)
	if err != nil {
		if s.file.Truncate(s.size) != nil && written > 0 {
			err = errors.Join(err, s.finish())
		}
		return fmt.Errorf("event segments: %w", err)
	}
	s.size += int64(written)
	return nil
}

type segmentFile struct {
	path   string
	number int
	size   int64
}

// segmentFiles lists the segments of a directory, oldest first.
func segmentFiles(dir string) ([]segmentFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("event segments: %w", err)
	}
	var files []segmentFile
	for _, e := range entries {
		digits, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), segmentSuffix), segmentPrefix)
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || !strings.HasSuffix(e.Name(), segmentSuffix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		files = append(files, segmentFile{filepath.Join(dir, e.Name()), n, info.Size()})
	}
	slices.SortFunc(files, func(a, b segmentFile) int { return a.number - b.number })
	return files, nil
}
