package weft

import (
	"context"

	"github.com/weftrun/weft/internal/client"
)

// RuntimeContext says where some code runs and on whose behalf. Ids are hex; they
// are empty where they do not apply.
type RuntimeContext struct {
	Node, Job, Task, Actor string
	// Attempt is 1 the first time a task runs, 2 the first time it runs again.
	Attempt int
	// Incarnation is 1 until an actor is restarted for the first time.
	Incarnation int
	// Name is the running task's.
	Name string
	// Resources are those that the running task or actor was assigned, in whole
	// units; memory in bytes.
	Resources map[string]float64
	// Devices are the numbers at the node, from 0, of the accelerators that the running task or
	// actor was assigned, by resource: {"GPU": {0, 2}}. A fraction of one is shared with others.
	Devices map[string][]int
}

// Runtime describes the code that was given ctx: a task, an actor, or a driver.
func Runtime(ctx context.Context) RuntimeContext {
	run := client.FromContext(ctx)
	s, err := sessionOfRun(run)
	if err != nil {
		return RuntimeContext{}
	}
	info := s.Info()
	rc := RuntimeContext{Node: info.Node.String(), Job: info.Job.String()}
	if run == nil || run.Task.IsZero() {
		return rc
	}
	rc.Task, rc.Attempt, rc.Incarnation = run.Task.String(), int(run.Attempt), int(run.Incarnation)
	if !run.Actor.IsZero() {
		rc.Actor = run.Actor.String()
	}
	if run.Spec != nil {
		rc.Name, rc.Resources, rc.Devices = run.Spec.Name, run.Spec.Resources.Map(), run.Devices
	}
	return rc
}
