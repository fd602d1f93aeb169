package event

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	eventv1 "github.com/weftrun/weft/internal/gen/event/v1"
)

// ReadSegments yields the events in a directory's segments, oldest first. An
// end that a crash tore off is where a segment ends; what is unreadable
// elsewhere is a gap event that says so. Only files that cannot be opened are
// errors, and the rest is read all the same.
func ReadSegments(dir string) iter.Seq2[View, error] {
	return func(yield func(View, error) bool) {
		files, err := segmentFiles(dir)
		if err != nil {
			yield(View{}, err)
			return
		}
		for _, f := range files {
			data, err := os.ReadFile(f.path)
			if errors.Is(err, fs.ErrNotExist) {
				continue // its time was over
			}
			if err != nil {
				if !yield(View{}, fmt.Errorf("event segments: %w", err)) {
					return
				}
				continue
			}
			r := segmentReader{name: filepath.Base(f.path), data: data, yield: func(v View) bool { return yield(v, nil) }}
			if !r.read() {
				return
			}
		}
	}
}

// segmentReader decodes one segment.
type segmentReader struct {
	name  string
	data  []byte
	pos   int
	start time.Time
	last  time.Time
	names []string
	yield func(View) bool
}

var errTorn = errors.New("the frame is not whole")

// read yields the segment's events; false ends the iteration.
func (r *segmentReader) read() bool {
	if len(r.data) < len(segmentMagic) {
		return true
	}
	if string(r.data[:len(segmentMagic)]) != segmentMagic {
		return r.gap(0, "is not an event segment, or one of another version")
	}
	r.pos = len(segmentMagic)
	var header eventv1.Header
	body, err := r.frame()
	if err == nil {
		err = header.UnmarshalVT(body)
	}
	if err != nil {
		return errors.Is(err, io.EOF) || errors.Is(err, errTorn) || r.gap(r.pos, "has no header")
	}
	r.start = time.Unix(0, header.StartUnixNano)
	r.last, r.names = r.start, []string{""}
	return r.batches()
}

func (r *segmentReader) batches() bool {
	for {
		at := r.pos
		body, err := r.frame()
		var batch eventv1.Batch
		if err == nil {
			err = batch.UnmarshalVT(body)
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, errTorn):
			return true
		case err != nil:
			// Names may be missing from here on, so what follows would lie.
			return r.gap(at, fmt.Sprintf("is unreadable: %v", err))
		}
		if !r.batch(&batch) {
			return false
		}
	}
}

// frame returns the body of the next frame. A frame that reaches the end of
// the file and is damaged counts as torn: it was being written.
func (r *segmentReader) frame() ([]byte, error) {
	rest := r.data[r.pos:]
	switch {
	case len(rest) == 0:
		return nil, io.EOF
	case len(rest) < frameHeader:
		return nil, errTorn
	}
	n, sum := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	end := frameHeader + int(n)
	if len(rest) < end {
		return nil, errTorn
	}
	body := rest[frameHeader:end]
	r.pos += end
	if crc32.Checksum(body, castagnoli) != sum {
		if len(rest) == end {
			return nil, errTorn
		}
		return nil, errors.New("wrong checksum")
	}
	return body, nil
}

func (r *segmentReader) batch(b *eventv1.Batch) bool {
	r.names = append(r.names, b.Names...)
	if b.Missed > 0 && !r.yield(View{
		Time: r.last, Event: Gap.String(), Number: int(b.Missed), NumberIs: Gap.numberIs(),
		Text: "events were lost before they could be written",
	}) {
		return false
	}
	for _, rec := range b.Records {
		v := r.view(rec)
		r.last = v.Time
		if !r.yield(v) {
			return false
		}
	}
	return true
}

func (r *segmentReader) view(rec *eventv1.Record) View {
	return View{
		Time: r.start.Add(time.Duration(rec.At)), Event: r.at(rec.Kind), Count: int(rec.Count),
		ID: hex.EncodeToString(rec.Id), Name: r.at(rec.Name), Job: hex.EncodeToString(rec.Job),
		Worker: int(rec.Worker), Number: int(rec.Number), NumberIs: r.at(rec.NumberIs), Cause: r.at(rec.Cause),
		Queued: time.Duration(rec.Queued), Ran: time.Duration(rec.Ran), Bytes: rec.Bytes, Text: rec.Text,
	}
}

func (r *segmentReader) at(name uint32) string {
	if int64(name) < int64(len(r.names)) {
		return r.names[name]
	}
	return ""
}

func (r *segmentReader) gap(pos int, what string) bool {
	return r.yield(View{
		Time: r.last, Event: Gap.String(), NumberIs: Gap.numberIs(),
		Text: fmt.Sprintf("%s, byte %d: %s", r.name, pos, what),
	})
}
