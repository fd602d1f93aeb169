// Package remote lets drivers outside a cluster use a node of it: the session
// protocol over TLS, for programs that share no memory with a node.
//
// The nouns. A [Proxy] is on the driver's machine and speaks to the program as a
// node does: over two Unix sockets, and with shared memory of its own. A
// [Gateway] is beside a node and speaks to it as a driver does. Between the two
// goes a link: the frames of the session as they are, and those that only a link
// has (Open, Opened, Delivered, Chunk). So neither programs nor nodes know that
// there is a distance.
//
// A link outlives its connections. Each side counts the frames of either lane
// and keeps what the other has not yet handed on; after a cut the driver dials
// again and both send again what was lost. What is not back in time (30 s) has
// ended: the node then sees its driver gone, the program its node.
//
// A large value travels as Chunks before the message that has its location,
// where the other side's memory takes their place. The Gateway pins a value
// only until it has read it; the program's pins are the Proxy's.
//
// A driver shows a token, and gets nothing read before. The token's role says
// which frames it may send. While the token's sessions last it is looked at again
// and again: they end when it has been revoked.
//
// Bounds: a lane's frames that are not handed on are at most window bytes in
// either direction; then whoever sends waits, or does not read on. What comes
// in is queued, so that Delivered is always read.
package remote
