package guard

import (
	"fmt"
	"time"
)

// Verdict is the answer of Admit, with the figures it rests on, in bytes.
type Verdict struct {
	OK       bool
	Function Function
	Need     int64 // the function's learned peak, or what was declared if more
	Learned  bool
	Used     int64
	Growth   int64 // what tasks that were admitted are expected to need yet
	Room     int64 // up to which tasks are admitted
	Limit    int64
}

// Admit says whether a task of fn with a process of its own should begin now.
// It does if what is used, what those before it are expected to need yet, and
// what it needs itself fit below the first level. So does one that is alone,
// since nothing would make more room for it; and one for which Patience is over.
// The shell follows a yes with TaskStarted.
func (m *Machine) Admit(now time.Duration, fn Function, declared int64) Verdict {
	learned := m.peaks.of(fn)
	v := Verdict{Function: fn, Need: max(declared, learned), Learned: learned >= declared,
		Used: m.use, Growth: m.growth, Room: m.share(m.o.StopAt), Limit: m.limit}
	v.OK = m.limit == 0 || v.Need == 0 || m.tasks.len() == 0 || v.Used+v.Growth+v.Need <= v.Room ||
		now-m.moved >= m.o.Patience
	return v
}

// String says why, for people.
func (v Verdict) String() string {
	if v.OK {
		return "there is memory for it"
	}
	how := "declared"
	if v.Learned {
		how = "learned from its runs"
	}
	text := fmt.Sprintf("it needs about %s of memory (%s); %s of %s are in use", Size(v.Need), how, Size(v.Used), Size(v.Limit))
	if v.Growth > 0 {
		text += fmt.Sprintf(", tasks before it are expected to need %s more", Size(v.Growth))
	}
	return text + ", and tasks begin up to " + Size(v.Room)
}
