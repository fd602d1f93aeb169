package state

import "time"

// States of a Task.
const (
	TaskPendingArgs      = "PENDING_ARGS_AVAIL"      // an argument is not there yet
	TaskPendingPlacement = "PENDING_NODE_ASSIGNMENT" // no node has room now
	TaskPendingStore     = "PENDING_OBJ_STORE_MEM_AVAIL"
	TaskPendingFetch     = "PENDING_ARGS_FETCH"
	TaskSubmitted        = "SUBMITTED_TO_WORKER" // behind another one on its worker
	TaskPendingActorArgs = "PENDING_ACTOR_TASK_ARGS_FETCH"
	TaskPendingTurn      = "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"
	TaskRunning          = "RUNNING"
	TaskInGet            = "RUNNING_IN_GET"  // it waits in Get and lends its CPU
	TaskInWait           = "RUNNING_IN_WAIT" // likewise in Wait, Put or a submit
	TaskFinished         = "FINISHED"
	TaskFailed           = "FAILED"
)

// Kinds of Task.
const (
	NormalTask        = "NORMAL_TASK"
	ActorCreationTask = "ACTOR_CREATION_TASK"
	ActorTask         = "ACTOR_TASK"
)

// Task is one task, or its end. Of one that has ended not everything is known.
type Task struct {
	ID        string             `json:"id"`
	Name      string             `json:"name"`
	Function  string             `json:"function,omitempty"`
	State     string             `json:"state"`
	Kind      string             `json:"kind"`
	Attempt   int                `json:"attempt"`
	Job       string             `json:"job"`
	Parent    string             `json:"parent,omitempty"` // the task that submitted it
	Actor     string             `json:"actor,omitempty"`
	Node      string             `json:"node,omitempty"`
	Worker    int                `json:"worker,omitempty"`
	Resources map[string]float64 `json:"resources,omitempty"`
	Arguments int                `json:"arguments,omitempty"` // awaited objects among them
	Error     string             `json:"error,omitempty"`
	Cause     string             `json:"cause,omitempty"` // such as "worker_died"
	Submitted time.Time          `json:"submitted,omitzero"`
	Started   time.Time          `json:"started,omitzero"`
	Ended     time.Time          `json:"ended,omitzero"`
}

// States of an Actor.
const (
	ActorUnready    = "DEPENDENCIES_UNREADY"
	ActorPending    = "PENDING_CREATION"
	ActorAlive      = "ALIVE"
	ActorRestarting = "RESTARTING"
	ActorDead       = "DEAD"
)

// Actor is one actor.
type Actor struct {
	ID          string             `json:"id"`
	Class       string             `json:"class"`
	State       string             `json:"state"`
	Name        string             `json:"name,omitempty"`
	Namespace   string             `json:"namespace,omitempty"`
	Job         string             `json:"job"`
	Node        string             `json:"node,omitempty"`
	Worker      int                `json:"worker,omitempty"`
	PID         int                `json:"pid,omitempty"`
	Incarnation int                `json:"incarnation"`
	Restarts    int                `json:"restarts"`
	MaxRestarts int                `json:"max_restarts"` // -1: no limit
	Detached    bool               `json:"detached,omitempty"`
	Handles     int                `json:"handles"`
	Queued      int                `json:"queued"`  // calls that wait
	Running     int                `json:"running"` // calls that run
	Resources   map[string]float64 `json:"resources,omitempty"`
	Cause       string             `json:"cause,omitempty"` // of its death
	Created     time.Time          `json:"created,omitzero"`
}

// States of an Object.
const (
	ObjectPending = "PENDING" // its task has not made it yet
	ObjectInline  = "INLINE"  // its value is in the owner's memory
	ObjectStored  = "STORED"  // in shared memory
	ObjectSpilled = "SPILLED" // on disk
	ObjectFailed  = "FAILED"  // its value is an error
	ObjectLost    = "LOST"
)

// Object is one object that is referenced.
type Object struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`
	Bytes    int64     `json:"bytes"`
	Task     string    `json:"task,omitempty"` // that makes it; "" for a put
	TaskName string    `json:"task_name,omitempty"`
	Job      string    `json:"job,omitempty"`
	Node     string    `json:"node,omitempty"`
	Refs     int       `json:"refs"`              // references that sessions hold
	Pins     int       `json:"pins"`              // readers that map it now
	Waiting  int       `json:"waiting,omitempty"` // tasks and sessions that wait for it
	Path     string    `json:"path,omitempty"`    // of its spill file
	Created  time.Time `json:"created,omitzero"`
}

// States of a Worker.
const (
	WorkerStarting = "STARTING"
	WorkerIdle     = "IDLE"
	WorkerBusy     = "BUSY"
	WorkerStopping = "STOPPING"
	WorkerDead     = "DEAD"
)

// Worker is one worker process.
type Worker struct {
	ID      int       `json:"id"`
	State   string    `json:"state"`
	PID     int       `json:"pid"`
	Job     string    `json:"job,omitempty"`
	Node    string    `json:"node"`
	Kind    string    `json:"kind"` // "go", "python", "embedded"
	Actors  int       `json:"actors"`
	Running int       `json:"running"`       // tasks and calls
	Queued  int       `json:"queued"`        // sent to it and not begun
	Memory  int64     `json:"memory"`        // bytes of its own
	Pinned  int64     `json:"pinned"`        // bytes of objects it reads
	Env     string    `json:"env,omitempty"` // its runtime environment, as canonical JSON
	Exit    string    `json:"exit,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}

// States of a Job.
const (
	JobRunning   = "RUNNING"
	JobStopped   = "STOPPED"
	JobSucceeded = "SUCCEEDED"
	JobFailed    = "FAILED"
)

// Job is one driver's work.
type Job struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Program   string    `json:"program,omitempty"`
	PID       int       `json:"pid,omitempty"`
	Namespace string    `json:"namespace,omitempty"`
	Sessions  int       `json:"sessions"`
	Running   int       `json:"running"` // tasks
	Pending   int       `json:"pending"`
	Actors    int       `json:"actors"`
	Reason    string    `json:"reason,omitempty"` // why it ended
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
}

// States of a Node.
const (
	NodeAlive    = "ALIVE"
	NodeDraining = "DRAINING"
	NodeSuspect  = "SUSPECT"
	NodeDead     = "DEAD"
)

// Node is one node.
type Node struct {
	ID       string             `json:"id"`
	State    string             `json:"state"`
	Address  string             `json:"address,omitempty"`
	Host     string             `json:"host,omitempty"`
	IP       string             `json:"ip,omitempty"` // where other nodes reach it
	PID      int                `json:"pid,omitempty"`
	Version  string             `json:"version,omitempty"`
	Total    map[string]float64 `json:"total"`
	Free     map[string]float64 `json:"free"`
	Labels   map[string]string  `json:"labels,omitempty"`
	Workers  int                `json:"workers"`
	Running  int                `json:"running"`
	Queued   int                `json:"queued"`
	Store    StoreUse           `json:"store"`
	Memory   MemoryUse          `json:"memory"`
	Started  time.Time          `json:"started,omitzero"`
	Pressure string             `json:"pressure,omitempty"` // what the memory guard does, if anything
}

// StoreUse is what a node's objects take, in bytes.
type StoreUse struct {
	Used    int64 `json:"used"`
	Limit   int64 `json:"limit"`
	Pinned  int64 `json:"pinned"`
	Warm    int64 `json:"warm"` // freed and kept for the next object
	Spilled int64 `json:"spilled"`
	Objects int64 `json:"objects"`
}

// MemoryUse is what the memory guard sees, in bytes.
type MemoryUse struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"`
}

// States of a Group.
const (
	GroupPending = "PENDING"
	GroupCreated = "CREATED"
	GroupRemoved = "REMOVED"
)

// Group is one placement group.
type Group struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	State   string    `json:"state"`
	Job     string    `json:"job"`
	Layout  string    `json:"layout"` // PACK, SPREAD, STRICT_PACK, STRICT_SPREAD
	Bundles []Bundle  `json:"bundles"`
	Reason  string    `json:"reason,omitempty"` // why it is pending
	Created time.Time `json:"created,omitzero"`
}

// Bundle is one reservation of a Group.
type Bundle struct {
	Resources map[string]float64 `json:"resources"`
	Node      string             `json:"node,omitempty"`
}

// Status sums up a node.
type Status struct {
	Node    Node           `json:"node"`
	Tasks   map[string]int `json:"tasks"`  // living ones by state
	Actors  map[string]int `json:"actors"` // by state
	Jobs    int            `json:"jobs"`   // running
	Done    int64          `json:"done"`   // tasks since the start
	Failed  int64          `json:"failed"` // likewise
	Retried int64          `json:"retried"`
	Lost    int64          `json:"lost"` // objects
	Now     time.Time      `json:"now"`
}
