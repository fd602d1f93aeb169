// Package client is how a program speaks to its node, as the root package and
// the node itself use it.
//
//   - A Session is a program's connection to a node. The embedded node has one
//     of its own, where a call is a function call; Remote is the session
//     protocol over a socket, in a driver and, with a workerRole, in a worker.
//   - A Future is an object as one process sees it, a Call one submitted task.
//   - A Function is what a program has registered, with the Codecs of its types;
//     Run calls it in the TaskContext of one attempt.
//
// Remote owns two sockets and everything in memory that belongs to the session:
// Futures that are awaited, the mappings of shared memory, what has to be
// reported back. Two goroutines read, one a lane, and complete Futures; what
// goroutines want to say is appended to an outbox, which one of them at a time
// writes for all. Whoever is about to wait writes at once, others leave it to a
// flusher, so that calls that are submitted one after the other share a system
// call. Submit and Put wait while too much is unwritten; what releases something
// never does.
//
// References are counted by the node, from the message on that brings them into
// being. When a Future is garbage its cleanup notes the id, and a batch of them
// is reported some milliseconds later, never before a message that names them.
// A value in shared memory stays pinned as long as a Future that has it is
// reachable, also after the session is closed.
//
// In a worker a goroutine runs the tasks of a lease one after the other, and up
// to its limit run the calls of an actor's concurrency group. The side lane is
// read beside all that, so that what has not begun can be taken back and what
// runs can be cancelled. It may overtake the call lane: what is to be stopped
// and is not there yet is remembered.
//
// When the session ends, for whatever reason, everything that waits is completed
// with that reason, and so is what comes later.
package client
