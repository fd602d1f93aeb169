package node

import (
	"log/slog"
	"time"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
)

// Config says what a node is. The zero value is an embedded node of this
// machine's size.
type Config struct {
	// ID is the node's; zero draws one.
	ID id.Node
	// Dir holds the node's socket, lock, spill files and event segments.
	// "" makes a temporary one that goes with the node.
	Dir string
	// Socket is the path to serve sessions at; "" serves none (embedded).
	Socket string
	// IP is where other nodes reach this one; "" is 127.0.0.1.
	IP string
	// Resources overrides what the node has; amounts that are absent are
	// detected (CPU, memory, and what a node that serves sessions has under its
	// own name, see package resource).
	Resources map[string]float64
	Labels    resource.Labels
	// StoreBytes is the limit of shared memory for objects. 0 is 30% of the
	// memory that this process may use.
	StoreBytes int64
	// QueueBytes limits the memory, in bytes, of tasks that other processes have
	// submitted and that have not ended; who submits more waits. A task takes its
	// encoded arguments and about half a KiB. 0 is a quarter of the memory.
	QueueBytes int64
	// SpillBytes limits the disk used for spilled objects; 0 is unlimited.
	SpillBytes int64
	// SpillDir is where; "" is a folder of Dir.
	SpillDir string
	// EnvironBytes is how much of runtime environments is kept on disk; 0 is 10
	// GiB. Those in use are beyond it if need be.
	EnvironBytes int64
	// Job is the job of the embedded session; zero draws one.
	Job id.Job
	// Python is the interpreter of the embedded session's Python workers; "" is none.
	Python string
	// Metadata is what those workers are told of their driver.
	Metadata map[string]string
	// Namespace of named actors of the embedded session; "" is the job's own.
	Namespace string
	// MemoryLimit overrides the memory that the node may use, in bytes; 0 detects it.
	MemoryLimit int64
	// WorkerIdle is how long an idle worker process is kept. 0 is ten seconds.
	WorkerIdle time.Duration
	// Log receives the node's events; nil is silent.
	Log *slog.Logger
	// Network reaches other nodes; nil has none.
	Network Network
	// Cluster reaches the coordinator of the cluster whose member the node is;
	// nil: the node decides alone.
	Cluster Cluster
	// Build names the version, for people.
	Build string
}
