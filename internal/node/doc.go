// Package node wires one node together: it is the one place where the pure
// machines meet memory, sockets, processes and the clock.
//
// # Who owns what
//
// A Node has one lock. Under it are the machines (own, place, dispatch, actor)
// and the tables of what the machines do not know: a task's function and
// arguments, an object's value, a session's connection, a worker's process.
// Payload is only pointed to; it is encoded, decoded and copied without the lock.
//
// # How it moves
//
// Whoever brings an event, a goroutine that read a frame or a program that
// called its embedded session, takes the lock, steps a machine and settles:
// effects that concern another machine are stepped at once, until none are
// left. What concerns the outside is collected in a batch and run after the
// lock is released, by the same goroutine. There is no goroutine per machine
// and no queue between them.
//
// Other nodes are peers (peer.go). Place sends a task to one (remote.go), where
// it is a guest (guest.go); an object whose bytes are at one is away and is
// pulled when somebody here reads it (away.go). How messages travel is a
// Network's business.
//
// Messages to a session are queued under the lock, in the order of the effects,
// and written by one goroutine at a time per session, so order is kept although
// encoding happens outside.
package node
