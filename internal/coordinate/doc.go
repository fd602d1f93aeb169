// Package coordinate decides what one node of a cluster decides for all: who
// is a member, what each node knows of the others, who has which name, where
// placement groups lie, and what ends when a node or a job does. It is a pure
// state machine: an event and the time go in, an ordered list of effects comes
// out. It is not on the path of a task or of a call.
//
// The nouns:
//
//   - The coordinator is the head that won the election; its term numbers that.
//     Every effect is of the machine's current term, which the shell puts on
//     each command; a node ignores a lower one than it has seen.
//   - A member is a node with a record. It is heard of at least once a second.
//     Silent for SuspectAfter it is suspect and gets no bundles, for DeadAfter
//     it is dead, which is for good: should it come back it is expelled.
//   - A view is a member's figures as another member knows them. A member in a
//     small cluster sees all others, in a large one a sample of them, and those
//     that it asked for (Seek) because its sample cannot do its work.
//   - Records are what the next coordinator goes on from. A Write effect names
//     one; what depends on it comes out once it is durable (Written).
//
// A new coordinator gets the records (Recorded), then hears from the members
// (Joined, with the bundles they hold) and reconciles: bundles that no record
// knows are released, those that a record has and nobody holds are placed
// anew. It decides nothing until every member has reported or been silent for
// SuspectAfter, and declares nobody dead before a whole DeadAfter.
//
// A placement group is placed in two phases: the nodes of its plan are asked to
// Prepare their bundles; when all have, the record is written and they Commit.
// If one refuses, the others Release, and it is planned again.
//
// The record of an actor that has a name or is detached says which node owns
// it: that node's machine actor decides its life. If the owner dies, a detached
// actor is Adopted by another; others die.
//
// The shell's duties: effects are carried out in order, messages to one node
// arrive in order; between Elected and Opened come the records and nothing else;
// Write effects are committed in order, each on the condition
// that the term lasts, and counted back with Written; if that condition fails,
// Deposed. [Tick] is sent at [Machine.Deadline]. Requests are repeated by who
// made them when the coordinator changes: each may be given twice. Views and
// slices of an effect are the machine's, and good until the next Step; what an
// event points to is kept.
//
// One goroutine at a time calls any method. Time that the shell let pass
// without a step, because its process stood still, counts for no member's
// silence.
package coordinate
