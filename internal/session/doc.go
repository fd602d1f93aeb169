// Package session serves the session protocol: it is the node's side of the
// connections of drivers and workers.
//
// A Server has one goroutine, which reads the sockets of all its connections,
// decodes frames, calls the Handler of the connection they came on, and writes
// on what others left over. One read brings many frames, and BatchEnd follows
// when there are no more, so that what the handlers have to say goes out in one
// write a peer. Handler methods therefore never run at the same time, and must
// not wait or work for long: what does goes to a goroutine of its own. While
// messages keep coming soon the goroutine looks for the next one before it
// sleeps; see wire.Patience.
//
// A Conn is written by anybody: Send queues a frame, Flush tries to write what
// is queued. Neither waits, neither stops the reading; a peer that leaves too
// much unread is disconnected, and a node that cares looks at Buffered and
// OnDrain before it sends more.
//
// The connection has two lanes. A driver's are two connections to the node's
// socket, joined by the secret of its Welcome; a worker's are the socketpairs
// it was started with. Nothing is promised about the order of frames of
// different lanes.
//
// A peer that breaks the protocol is told so in a Goodbye, where its socket has
// room for it, and disconnected; nothing else is affected. Messages passed to a
// Handler, with every byte and string in them, are valid until it returns.
package session
