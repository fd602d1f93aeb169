package dispatch

import "github.com/weftrun/weft/internal/id"

// function is what is known of one function of a job: how long it runs.
type function struct {
	name fnName
	refs int   // entries and running tasks that point here
	mean int64 // nanoseconds, exponentially weighted; 0 before the first run
}

type fnName struct {
	job  id.Job
	name string
	most int // calls that an isolated worker makes before it leaves; 0 is any number
}

// functions are the figures of all functions seen, by index.
type functions struct {
	at    []function
	index map[fnName]uint32
	free  []uint32
}

const (
	maxFunctions = 4096    // beyond it, those not in use are forgotten
	unknownRun   = 1000000 // ns charged for a function that never ran
)

func (f *functions) lookup(name fnName) uint32 {
	if i, ok := f.index[name]; ok {
		return i
	}
	if n := len(f.free); n > 0 {
		i := f.free[n-1]
		f.free = f.free[:n-1]
		f.at[i] = function{name: name}
		f.index[name] = i
		return i
	}
	f.at = append(f.at, function{name: name})
	i := uint32(len(f.at) - 1)
	f.index[name] = i
	return i
}

// full reports whether there are so many that unused ones should go.
func (f *functions) full() bool { return len(f.index) >= maxFunctions && len(f.free) == 0 }

// forget drops the figures of functions that nothing points to: all such, or
// those of job j.
func (f *functions) forget(j id.Job) {
	for i := range f.at {
		fn := &f.at[i]
		if fn.name == (fnName{}) || fn.refs > 0 || (j != id.Job{} && fn.name.job != j) {
			continue
		}
		delete(f.index, fn.name)
		*fn = function{}
		f.free = append(f.free, uint32(i))
	}
}

// measure takes one run into account: slower runs count for more, since
// pipelining behind a slow task costs more than not pipelining.
func (fn *function) measure(ran int64) {
	switch {
	case ran <= 0:
	case fn.mean == 0:
		fn.mean = ran
	case ran > fn.mean:
		fn.mean += (ran - fn.mean + 1) / 2
	default:
		fn.mean = max(1, fn.mean-(fn.mean-ran)/8)
	}
}

func (fn *function) cost() int64 {
	if fn.mean == 0 {
		return unknownRun
	}
	return fn.mean
}
