// Package own is the ownership machine of a node: the pure state machine that
// decides when a task can run, whether it runs again, when an object's bytes
// may go, and how a lost object is made again.
//
// # Nouns
//
// A task is one submitted call. An object is one of its return values, one item
// of its stream, or a put (a task without a description). Its owner is the
// node whose session submitted it; the id says which. An attempt is one run of
// a task; results count only if they come from the current one.
//
// An object's value is needed while a session of the owner's node holds a
// reference, another node does (a holder), a pending task has it among its
// arguments, or a live value contains it. Then it is freed. Its task's record
// outlives it as lineage while a descendant could need it rebuilt: lineage keeps
// descriptions and payloads, not values, except of what cannot be made again
// (puts), and both within Options.LineageBytes, beyond which the oldest entry is
// given up.
//
//	waiting ──args available──▶ runnable ──Started──▶ started ──Done──▶ done
//	   ▲                           │                     │               │
//	   └──────── retry ────────────┴───── Failed ────────┘    lost, with lineage:
//	   └──────────────────────────────────────────────────────── rebuild ─┘
//
//	pending ──▶ available ──▶ none (not needed; lineage may remain)
//	   ▲            │ last copy lost
//	   └─ rebuild ──┴──▶ gone (cannot be made again)
//
// # References between nodes
//
// A foreign object that something on this node uses is borrowed: the node has
// tokens, each counted by the object's owner for this node. Whoever sends a
// reference registers the receiver (SendRef): at once if it is the owner,
// otherwise by a RefAdd ahead of any RefDrop of its own on the same ordered
// link. The receiver's RefDrop may overtake that RefAdd, so an owner's counts
// are signed. As long as any token is out, some holder's count is positive: a
// token whose RefAdd is under way has a sender whose own count cannot have
// gone yet. So an object is free for other nodes when no count is positive.
//
// Counts are kept by holder and by who gave it the reference (via), because a
// node that dies may have told the owner and not the holder, or the reverse:
// then the owner asks the holder (Audit) and the holder says what it has
// (RefHeld), each once it has declared via dead and nothing more can come from
// it. One gap is left: if the dead node was the only one that the owner knew to
// hold the object, the object is freed before a holder it had not told of can
// speak up; that holder's wait ends with Gone: Freed.
//
// Values that contain each other are never freed while their owner lives: this
// is counting, not tracing. A task has no reference to its own return unless
// somebody hands it one.
//
// The shell's part: GotRef for each reference in a received message, before the
// event that the message causes, and Drop with Session 0 after it; SendRef for
// each reference in a message, before sending it.
//
// # Use
//
// One goroutine at a time calls Step, which does no I/O and takes no lock; the
// shell runs the effects in order. Queries change nothing. No order of effects
// depends on the iteration of a map: equal histories have equal effects.
//
// Payloads, values and error texts are the shell's: it keeps a task's
// arguments from Submit to Forget and an object's bytes from Ready to Free.
package own
