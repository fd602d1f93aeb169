// Package client is what a program uses to speak to its node: the root package
// on one side, and on the other a node in the same process (internal/node has
// that [Session]) or one behind a socket ([Dial]). In a process that a node has
// started it is the worker too ([WorkerMain]).
//
// The nouns. A [Function] is something registered under a name: a task function,
// an actor's constructor or one of its methods. A [Call] is one use of it. A
// [Future] is an object as one process sees it, an id and later a [Result]; the
// root package's Ref points to one. A [Codec] turns values of one Go type to
// bytes and back, and has the session count the references inside them. A
// [TaskContext] is the context that a running task is given, with a [Running]
// that says which task it is.
//
// A [Remote] owns two sockets and what belongs to the session: Futures that are
// awaited, mappings of shared memory, what has to be reported back. Two
// goroutines read, one a lane, and complete Futures. What goroutines want to say
// is appended to an outbox, which one of them at a time writes for all: who is
// about to wait writes at once, others leave it to a flusher, so that calls
// submitted one after the other share a system call. Submit and Put wait while
// too much is unwritten; what releases something never does.
//
// References are counted by the node, from the message on that brings them into
// being. When a Future is garbage its cleanup notes the id, and a batch of them
// is reported some milliseconds later, never before a message that names them.
// A value in shared memory stays pinned as long as a Future that has it is
// reachable, also after the session is closed.
//
// In a worker a goroutine runs the tasks of a lease one after the other, and an
// actor's calls begin in the order of their coming, up to the limit of their
// concurrency group at a time. The side lane is read beside all that, so that
// what has not begun can be taken back and what runs be cancelled. It may
// overtake the call lane: what is to be stopped and is not there yet is
// remembered.
//
// A Future that was asked for completes: with its value, with its error, or with
// that of the session when the session is over.
//
// The table of functions is the program's, filled while packages initialise. All
// other state is a session's. Everything here may be used concurrently, except
// Room, which is its writer's.
package client
