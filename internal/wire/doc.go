// Package wire has what crosses a process boundary between a program and its
// node: frames, and the messages of package sessionv1 to and from the types
// that the rest of Weft uses; and Socket, a program's end of a lane, which it
// reads through a Reader.
//
// A frame is a little-endian uint32 length, a byte that says the Kind, and a
// protobuf message. Reader cuts them out of a stream, AppendFrame makes them;
// neither allocates once its buffer has its size. Only Socket is concurrent.
//
// A message that was decoded with UnmarshalVTUnsafe shares its frame's memory,
// so it is valid until the Reader's following Next; the From functions copy
// what they return. Hot messages (Submit, Execute, Result, ObjectValue, Counts,
// Objects) are used again without allocation: by ResetVT between two decodings
// of one that a reader owns, or from and to their pools. ResetVT takes the
// Values of a message apart for others to use: who encodes a message whose
// Values belong to another one drops it, or sets those fields to nil first.
package wire
