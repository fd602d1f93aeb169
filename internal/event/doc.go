// Package event keeps what happened on a node: typed records in a bounded
// ring, and the views that are made of them.
//
// A [Record] is one fact of 64 bytes: a task that ended, an actor that changed
// state, a worker that exited. The node that made the fact appends it to its
// [Log]. Ordinary records share one ring and a budget per second; past the
// budget they become counts, one record per function, kind and second. Records
// of failures and changes of state have a ring of their own and are never
// counted away, so a burst of successes cannot push out the failure before it.
//
// Everything else is a view: [Log.Read] pages through the rings, [Log.Stats]
// has totals since the start, [Log.Drain] feeds sinks in the background, such
// as disk [Segments] that outlive the process and a [Logger] for slog, and
// [WriteTrace] makes a timeline of what any of them returned.
//
// The smallest complete use:
//
//	log := event.New(event.Config{})
//	square := log.Name("square")
//	log.Append(now, event.Record{Kind: event.TaskDone, ID: event.IDOf(task), Name: square, Ran: ran})
//	entries, next, missed := log.Read(event.Cursor{}, nil, 100)
//
// A Log owns its rings; all its methods may be called concurrently. Append
// takes one short lock, allocates nothing and never waits for a reader; it is
// made to be called under the node's lock. Times are durations since the
// node's start, which the caller passes in. Sinks are called by Drain's
// goroutine alone.
package event
