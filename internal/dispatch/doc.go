// Package dispatch decides when, and on which worker, the tasks that a node
// has accepted run. It is a pure state machine: an event and the time go in,
// an ordered list of effects comes out.
//
// The nouns:
//
//   - A queue holds the waiting tasks of one lease key, first in, first out
//     within a priority. Another node's request for leases of a key is a queue
//     too, of so many wanted leases.
//   - A lease is a reservation of resources on one worker. Tasks of its key
//     flow through it one after the other; its resources are counted when it
//     is opened and closed, not for every task.
//   - A pool is what leases reserve from: the node's resources, or a bundle of
//     a placement group carved out of them.
//   - A class is a kind of worker process. A shared worker takes any number
//     of leases, an isolated one a single lease at a time.
//   - A job has a weight and a virtual time: what it was given, divided by its
//     weight. The job that is furthest behind goes first (weighted fair
//     queueing; a job that was away keeps no credit); within a job the higher
//     priority, then the older task.
//
// The caller's duties: one goroutine at a time calls any method; now never
// goes back; every effect is carried out in order; [Tick] is sent at
// [Machine.Deadline]. Events and their slices are not kept, specs are.
//
// A task is lost by nothing here: one that a worker took with it when it died
// is its owner's to enqueue again.
package dispatch
