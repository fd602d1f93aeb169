// Package guard decides what a node does as its memory runs out: it stops
// admitting work, then has the object store spill, then ends a task, so that
// the kernel's OOM killer never has to choose.
//
// A [Machine] is pure: [Machine.Step] takes an event and the time since the
// node's start and appends effects to the caller's slice. It has no goroutine,
// lock, clock or I/O; its one owner (internal/node) steps it under its own
// lock, reads the figures it needs with guard/meminfo, and runs the effects.
//
// The nouns. A [Sample] is one moment of the node's memory: the store counted
// once, each worker's anonymous memory and swap (its resident set would count
// the store again), the node's own process, and what could still be had. Use is
// the sum; the limit is the smaller of what the node may use and what it could
// get. A [Level] is how bad it is:
//
//	             85%              90%             95%      of the limit
//	None ────▶ StopAdmitting ────▶ SpillObjects ────▶ EndTasks
//	     ◀────               ◀────              ◀────      5 points lower
//
// Levels end lower than they begin, so that none flaps. While the store is to
// spill, its target is what the others leave it below the level's end; it is
// let grow again as they shrink, and only then is the target lifted.
//
// A victim is the youngest retriable task of the job whose workers use most,
// among those of it that hold enough to matter. Only tasks with a process of
// their own can be victims: ending the process ends nothing else. A task that
// may not run again is chosen only if there is no other, nothing is chosen
// while the last victim's memory is still to be seen free, and nobody is chosen
// more than [Options.MaxEnds] times. A victim that would not have fitted if nothing
// else ran is said to be too large: running it again and again would not help.
//
// The peak of a function is learned from the samples taken while it ran: it
// rises at once and sinks slowly, so it stands for an upper quantile. Admit
// weighs it against what is used and what running tasks are expected to need
// yet. Go tasks that run as goroutines of one process share its memory: for
// them there are no peaks and no victims, only levels.
package guard
