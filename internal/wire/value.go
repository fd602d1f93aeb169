package wire

import "github.com/weftrun/weft/internal/id"

// Tag says how a Value's bytes are encoded.
type Tag uint8

// Encodings. Every language reads those up to Arrow; Pickle is Python's alone.
const (
	None   Tag = iota // no value: nil
	Raw               // bytes as they are
	CBOR              // RFC 8949
	Proto             // a protobuf message
	Arrow             // an Arrow IPC stream
	Pickle            // Python's, protocol 5
)

func (t Tag) String() string {
	return [...]string{"none", "raw", "cbor", "protobuf", "arrow", "pickle"}[min(int(t), int(Pickle))]
}

// Value is an encoded value. Data and Refs are immutable.
type Value struct {
	Tag  Tag
	Data []byte
	Refs []id.Object // references inside Data
}
