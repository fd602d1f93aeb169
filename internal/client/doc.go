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
// A session over a socket has a goroutine for each of its two lanes, and one
// that writes what submitters leave behind; a worker has further ones for its
// tasks. A Future that was asked for completes: with its value, with its error,
// or with that of the session when the session is over.
//
// The table of functions is the program's, filled while packages initialise. All
// other state is a session's. Everything here may be used concurrently, except
// Room, which is its writer's.
package client
