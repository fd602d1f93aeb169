// Package actor decides the lives of actors and the order of their calls. It
// is a pure machine: Machine.Step takes an event and the time and returns what
// the shell must do.
//
// A record is one actor: its state, the number of its current incarnation, its
// name, who holds handles on it. The life of a record:
//
//	         Placed, Started               Lost, Kill (restarts left)
//	PENDING ----------------> ALIVE ----------------------> RESTARTING
//	   |                        |  <----------------------      |
//	   |                        |      Placed, Started          |
//	   +---- InitError, CannotPlace, last handle, Kill, --------+----> DEAD
//	         Exit, Lost (no restart left), end of its job
//
// Every start is an incarnation, numbered from 1. What comes from an older one
// is ignored, and an older one that shows up is told to stop.
//
// A caller is one session's use of one actor: its handles and its calls. The
// calls of a caller are sent in submission order; one whose arguments are not
// ready holds those behind it, unless the actor is OutOfOrder. Callers of one
// actor take turns. At most a window of calls is out at an actor; the others
// wait here, in 36 bytes and an index entry each. How many of those that are
// out run at once is the worker's business.
//
// When an incarnation is lost, calls that were sent and not answered fail as
// maybe having run. The owner of a call may retry it: Call with Again goes
// before every call that was never sent, in the order of the task sequence,
// and a call that is still known is not queued twice. The shell hands over
// Again at once, with ArgsReady unset if an argument has to be rebuilt first,
// so that nothing overtakes the retry.
//
// A detached actor outlives the node that keeps its record: another node adopts
// it, as it lives or as its next incarnation (Orphaned, Kept, Adopt).
//
// An actor without handles ends when its submitted calls are answered, unless
// it is detached. The record of an actor may be another node's: then that node
// tells its state (Told), and this machine keeps only the calls of its own
// sessions until none is left (Release).
//
// A Machine has one user at a time; it starts nothing and keeps no clock. Death
// of an actor with very many waiting calls is told in portions: while More is
// true the shell steps Tick again. Names are unique in a namespace while their
// actor lives.
package actor
