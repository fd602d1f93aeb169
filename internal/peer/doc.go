// Package peer is how nodes reach each other: links for messages, and pulls for
// what is large. Peers is one node's side of both; its methods Send and Pull
// are what a node wants of a network.
//
// # Links
//
// Between two nodes there is one link for as long as both live: messages are
// numbered in each direction, kept until the other has acknowledged them, sent
// again over the next stream and recognised if they come twice. So they arrive in
// order, each once, whatever happens to connections. A node that was started
// again is another node, with another id and other links.
//
// A link's stream (a gRPC call with batches of messages both ways) is opened by
// whichever node has something to send, closed by that node when nothing has
// passed for a while, and opened again when something is to be sent. If both open
// one at the same time, or one notices later than the other that a stream is
// gone, the stream with the higher number counts. A stream that breaks is opened
// again whether or not something is to be sent, for that is how the end of a
// process is noticed: its port refuses.
//
// There is one stream for all messages, since they are promised in order. What
// releases something waits behind larger messages no longer than those take to
// travel: Receive does not wait, so a stream is always read, and objects' bytes
// travel on connections of their own.
//
// Send does not wait. What is not acknowledged is in memory and counted
// (Unacknowledged); it is bounded by the credit with which work is admitted.
//
// # Pulls
//
// What is large and in memory travels in chunks, each a request for a range with a
// checksum, a few at a time, from any node that has it, and straight into the
// memory of who reads. A chunk that is corrupt, or whose connection broke, is asked
// for again: at the following source if there are several, else at the same one.
// Everything else travels in one answer, whole or not without an error.
//
// # Silence
//
// The kernel watches connections: one whose other machine has gone silent is cut
// after about 8 seconds. A process that is stopped but not gone keeps its
// connections; messages for it wait. Who is dead is not decided here: the events
// Refused and Up are reports, and Forget is the answer.
//
// # Security
//
// With TLS each connection has certificates of the cluster's CA on both sides,
// and Identify says which node a certificate names. A caller talks to no other
// node than the one it means; who is called takes messages as coming from the
// node of the certificate. Without TLS only loopback addresses are served. Who has
// no certificate can speak the protocols of Guest and Others alone: a connection
// that offers one of them can negotiate nothing else.
//
// One port serves gRPC and HTTP. They are told apart by the protocol that TLS
// negotiated, or without TLS by the first bytes, not by each request's content
// type: so each has its own server on the bare connection, and HTTP's is the
// version that moves bytes fastest (1.1).
//
// # Concurrency
//
// All methods may be called concurrently. Receive is called for one message of a
// node at a time, for different nodes concurrently.
package peer
