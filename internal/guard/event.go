package guard

import (
	"fmt"

	"github.com/weftrun/weft/internal/id"
)

// Level says how short of memory a node is; each includes those before it.
type Level uint8

// Levels.
const (
	None          Level = iota
	StopAdmitting       // nothing new begins
	SpillObjects        // the store gets smaller
	EndTasks            // a task is ended
)

var levelNames = [...]string{"none", "stop admitting", "spill objects", "end tasks"}

func (l Level) String() string { return levelNames[l] }

// EventKind says which fields of an Event matter.
type EventKind uint8

// What happens at a node.
const (
	Sampled     EventKind = iota + 1 // Sample
	TaskStarted                      // Task, Attempt, Function, Worker, Retriable, Shared, Declared: it may use memory; again when its Worker (0: none yet) is known
	TaskEnded                        // Task, Attempt, Bytes (its peak; 0: as sampled)
)

// Event is something that happened. Only the fields its kind names are read.
type Event struct {
	Kind      EventKind
	Task      id.Task
	Attempt   uint32
	Function  Function
	Worker    id.Worker
	Retriable bool  // it may run again
	Shared    bool  // others run in its process
	Declared  int64 // bytes of memory it asked for
	Bytes     int64
	Sample    Sample
}

// Function is what peaks are learned of.
type Function struct {
	Job  id.Job
	Name string
}

// Sample is one moment of a node's memory, in bytes.
type Sample struct {
	Limit      int64 // that the node and its workers may use; 0 is unknown
	Store      int64 // objects in shared memory
	StoreLimit int64
	Node       int64    // anonymous memory and swap of the node's process
	Available  int64    // that could still be had of the cgroup and machine; negative is unknown
	Workers    []Worker // by id; read, not kept
}

// Worker is one worker process of a Sample.
type Worker struct {
	ID    id.Worker
	Job   id.Job
	Name  string // what runs there, for people
	Bytes int64  // anonymous memory and swap
}

// EffectKind says which fields of an Effect matter.
type EffectKind uint8

// What the shell must do, in order.
const (
	Pressure EffectKind = iota + 1 // Level, Used, Limit: it changed
	Target                         // Bytes: the store is to keep within this; its own limit lifts it
	End                            // Task, Attempt, Worker, Bytes, Used, Limit, TooLarge, Text: kill the process, the task failed for want of memory
)

// Effect is something the shell must do.
type Effect struct {
	Kind     EffectKind
	Level    Level
	Task     id.Task
	Attempt  uint32
	Worker   id.Worker
	Bytes    int64
	Used     int64
	Limit    int64
	TooLarge bool   // it would not have fitted if nothing else ran
	Text     string // who used what
}

var kindNames = [...]string{Sampled: "sampled", TaskStarted: "task-started", TaskEnded: "task-ended"}

func (k EventKind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

var effectNames = [...]string{Pressure: "pressure", Target: "target", End: "end"}

func (k EffectKind) String() string {
	if int(k) < len(effectNames) && effectNames[k] != "" {
		return effectNames[k]
	}
	return fmt.Sprintf("effect(%d)", uint8(k))
}
