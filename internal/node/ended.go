package node

import (
	"time"

	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/state"
)

// endedTasks are the last ends of tasks that the events still have: those that
// failed, and with all those that went well or were cancelled.
func (n *Node) endedTasks(all bool) map[id.Task]event.Entry {
	ended := map[id.Task]event.Entry{}
	var page []event.Entry
	for at := (event.Cursor{}); ; {
		page, at, _ = n.events.Read(at, page[:0], pageSize)
		for i := range page {
			switch e := &page[i]; e.Kind {
			case event.TaskFailed:
				ended[e.ID.Task()] = *e
			case event.TaskDone, event.TaskCancelled:
				if all {
					ended[e.ID.Task()] = *e
				} else {
					delete(ended, e.ID.Task()) // it was run again
				}
			}
		}
		if len(page) == 0 {
			return ended
		}
	}
}

// endedRow shows a task that has ended.
func (n *Node) endedRow(e *event.Entry) state.Task {
	row := state.Task{ID: e.ID.Task().String(), Name: e.Label, State: state.TaskFinished, Attempt: int(e.N), Job: e.Job.String(),
		Cause: e.Cause.String(), Error: e.Text, Ended: n.events.Time(e.At)}
	n.mu.Lock()
	c, known := n.callees[e.Name]
	n.mu.Unlock()
	if known {
		row.Kind, row.Function = taskKinds[c.kind], c.function
	}
	if e.Worker != 0 {
		row.Worker, row.Node = int(e.Worker), n.id.String()
	}
	row.Started = row.Ended.Add(-e.Ran)
	row.Submitted = row.Started.Add(-time.Duration(e.Queued) * time.Microsecond)
	switch e.Kind {
	case event.TaskFailed:
		row.State = state.TaskFailed
	case event.TaskCancelled:
		row.State, row.Cause = state.TaskFailed, event.Cancelled.String()
	}
	return row
}
