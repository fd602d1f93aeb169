package node

import (
	"cmp"
	"context"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weftrun/weft/internal/actor"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/own"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/store"
	"github.com/weftrun/weft/internal/wire"
)

// source shows a node's state. Rows are read from the machines in pages, so that
// the lock is held briefly however much there is.
type source struct{ n *Node }

// pageSize is how many rows are read under one hold of the lock.
const pageSize = 1024

// Status implements state.Source.
func (s source) Status(ctx context.Context) (state.Status, error) {
	nodes, err := s.Nodes(ctx, state.Query{})
	if err != nil {
		return state.Status{}, err
	}
	st := state.Status{Node: nodes.Rows[0], Tasks: map[string]int{}, Actors: map[string]int{}, Now: time.Now()}
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	for i, count := range s.n.actors.Stats().States {
		if name := actorStates[actor.State(i)]; count > 0 && name != "" {
			st.Actors[name] = count
		}
	}
	for name, count := range s.n.taskCounts() {
		if count > 0 {
			st.Tasks[name] = count
		}
	}
	st.Jobs, st.Done, st.Failed, st.Retried = len(s.n.jobs), s.n.counts.done, s.n.counts.failed, s.n.counts.retried
	return st, nil
}

// Nodes implements state.Source.
func (s source) Nodes(_ context.Context, q state.Query) (state.Rows[state.Node], error) {
	n := s.n
	host, _ := os.Hostname()
	use := n.store.Stats()
	n.mu.Lock()
	free := n.dispatch.Free()
	row := state.Node{ID: n.id.String(), State: state.NodeAlive, Address: n.cfg.Socket, Host: host, IP: n.cfg.IP, PID: os.Getpid(),
		Version: n.cfg.Build, Total: n.total.Map(), Free: free.Map(), Labels: n.cfg.Labels, Workers: len(n.workers),
		Queued: n.dispatch.Queued(), Started: n.start,
		Store:  state.StoreUse{Used: use.Used, Limit: use.Limit, Pinned: pinned(&use), Warm: use.Slab.Warm, Spilled: use.DiskUsed, Objects: int64(use.Objects)},
		Memory: n.memoryUse()}
	if n.draining {
		row.State = state.NodeDraining
	}
	row.Running = n.taskCounts()[state.TaskRunning]
	n.mu.Unlock()
	return state.Select(q, slices.Values([]state.Node{row}))
}

// Tasks implements state.Source: those that live, and those whose end the events
// still have.
func (s source) Tasks(_ context.Context, q state.Query) (state.Rows[state.Task], error) {
	ended := s.n.endedTasks(q.Ended)
	return state.Select(q, func(yield func(state.Task) bool) {
		for t, row := range s.living() {
			delete(ended, t)
			if !yield(row) {
				return
			}
		}
		for _, e := range ended {
			if !yield(s.n.endedRow(&e)) {
				return
			}
		}
	})
}

// living reads living tasks in order of their ids.
func (s source) living() iter.Seq2[id.Task, state.Task] {
	return func(yield func(id.Task, state.Task) bool) {
		for after := (id.Task{}); ; {
			s.n.mu.Lock()
			page := s.n.own.Tasks(after, pageSize)
			rows := make([]state.Task, len(page))
			for i := range page {
				if page[i].Spec != nil && !page[i].Lineage && s.n.task(page[i].Task) != nil { // else it has ended
					rows[i] = s.n.taskRow(&page[i])
				}
			}
			s.n.mu.Unlock()
			for i := range rows {
				if rows[i].ID != "" && !yield(page[i].Task, rows[i]) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1].Task
		}
	}
}

var taskKinds = map[spec.Kind]string{spec.KindTask: state.NormalTask, spec.KindCreate: state.ActorCreationTask, spec.KindMethod: state.ActorTask}

func (n *Node) taskRow(i *own.TaskInfo) state.Task {
	row := state.Task{ID: i.Task.String(), Name: i.Spec.Name, Function: i.Spec.Function, Kind: taskKinds[i.Spec.Kind],
		Attempt: int(i.Attempt), Job: i.Spec.Job.String(), Resources: i.Spec.Resources.Map(), Arguments: i.Missing,
		State: n.taskState(i)}
	if !i.Parent.IsZero() {
		row.Parent = i.Parent.String()
	}
	if t := n.task(i.Task); t != nil {
		if a := t.owner(); !a.IsZero() {
			row.Actor = a.String()
		}
		if at, away := n.elsewhere[t.id]; away {
			row.Node = at.String()
		} else if t.worker != 0 {
			row.Worker, row.Node = int(t.worker), n.id.String()
		}
		row.Submitted = n.start.Add(t.submitted)
		if t.started != 0 {
			row.Started = n.start.Add(t.started)
		}
	}
	return row
}

func (n *Node) taskState(i *own.TaskInfo) string {
	t := n.task(i.Task)
	switch {
	case t == nil:
		return state.TaskFinished
	case i.Missing > 0:
		return state.TaskPendingArgs
	case t.worker == 0 && t.spec.Kind == spec.KindMethod:
		return state.TaskPendingTurn
	case t.worker == 0:
		return state.TaskPendingPlacement
	case t.blocked:
		return state.TaskInGet
	}
	return state.TaskRunning
}

var actorStates = map[actor.State]string{actor.Pending: state.ActorPending, actor.Alive: state.ActorAlive,
	actor.Restarting: state.ActorRestarting, actor.Dead: state.ActorDead}

// Actors implements state.Source.
func (s source) Actors(_ context.Context, q state.Query) (state.Rows[state.Actor], error) {
	return state.Select(q, func(yield func(state.Actor) bool) {
		for after := (id.Actor{}); ; {
			s.n.mu.Lock()
			page := s.n.actors.List(after, pageSize)
			rows := make([]state.Actor, 0, len(page))
			for i := range page {
				if !page[i].Remote {
					rows = append(rows, s.n.actorRow(&page[i]))
				}
			}
			s.n.mu.Unlock()
			for _, r := range rows {
				if !yield(r) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1].Actor
		}
	})
}

func (n *Node) actorRow(i *actor.Info) state.Actor {
	a := i.Spec.Actor
	row := state.Actor{ID: i.Actor.String(), Class: a.Class, State: actorStates[i.State], Name: a.Name, Namespace: a.Namespace,
		Job: i.Job.String(), Worker: int(i.Worker), Incarnation: int(i.Incarnation), Restarts: i.Restarts,
		MaxRestarts: a.MaxRestarts, Detached: a.Detached, Handles: i.Handles, Queued: i.Queued, Running: i.Sent,
		Resources: i.Spec.Resources.Map(), Cause: causeText[i.Cause]}
	if !i.Node.IsZero() {
		row.Node = i.Node.String()
	}
	switch p := n.workers[i.Worker]; {
	case i.Node != n.id:
	case p != nil && p.proc != nil:
		row.PID = p.proc.PID()
	case i.Worker == inProcess:
		row.PID = os.Getpid()
	}
	return row
}

// Objects implements state.Source.
func (s source) Objects(_ context.Context, q state.Query) (state.Rows[state.Object], error) {
	return state.Select(q, func(yield func(state.Object) bool) {
		for after := (id.Task{}); ; {
			s.n.mu.Lock()
			page := s.n.own.Objects(after, pageSize)
			rows := make([]state.Object, 0, len(page))
			for i := range page {
				if page[i].Object.Task().Owner() == s.n.id {
					rows = append(rows, s.n.objectRow(&page[i]))
				}
			}
			s.n.mu.Unlock()
			for _, r := range rows {
				if !yield(r) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1].Object.Task()
		}
	})
}

func (n *Node) objectRow(i *own.ObjectInfo) state.Object {
	row := state.Object{ID: i.Object.String(), Bytes: i.Status.Size, Refs: i.Refs, State: state.ObjectInline}
	e := n.objects[i.Object]
	if e != nil {
		row.Waiting = len(e.futures) + len(e.gets) + len(e.watches)
	}
	switch {
	case i.Status.Is == own.Pending:
		row.State = state.ObjectPending
	case i.Status.Is == own.Never:
		row.State = state.ObjectLost
	case i.Status.Error:
		row.State = state.ObjectFailed
	case e != nil && e.at:
		row.State, row.Node = state.ObjectStored, n.id.String()
		if info, ok := n.store.Lookup(i.Object); ok {
			row.Pins = info.Policy.Pins
			if info.Where == store.InFile {
				row.State = state.ObjectSpilled
			}
		}
	case n.away[i.Object] != nil:
		row.State, row.Node = state.ObjectStored, n.away[i.Object].node.String()
	}
	if t := n.task(i.Object.Task()); t != nil {
		row.Task, row.TaskName, row.Job = t.id.String(), t.spec.Name, t.spec.Job.String()
	}
	return row
}

// Workers implements state.Source.
func (s source) Workers(_ context.Context, q state.Query) (state.Rows[state.Worker], error) {
	n := s.n
	n.mu.Lock()
	rows := make([]state.Worker, 0, len(n.workers)+1)
	if n.local != nil {
		rows = append(rows, state.Worker{ID: int(inProcess), State: state.WorkerIdle, PID: os.Getpid(), Job: n.cfg.Job.String(),
			Node: n.id.String(), Kind: "embedded", Actors: len(n.instances), Started: n.start})
	}
	for _, p := range n.workers {
		rows = append(rows, n.workerRow(p))
	}
	n.mu.Unlock()
	slices.SortFunc(rows, func(a, b state.Worker) int { return a.ID - b.ID })
	return state.Select(q, slices.Values(rows))
}

func (n *Node) workerRow(p *process) state.Worker {
	row := state.Worker{ID: int(p.id), State: state.WorkerStarting, Job: p.class.Job.String(), Node: n.id.String(), Kind: cmp.Or(p.class.Language, wire.Go),
		Env: p.class.Env.String(), Started: p.started}
	if p.proc != nil {
		row.PID = p.proc.PID()
	}
	if p.up {
		row.State = state.WorkerIdle
		row.Actors = len(n.actors.On(n.id, p.id))
	}
	for _, t := range p.tasks {
		if t.spec.Kind != spec.KindCreate {
			row.Running++
			row.State = state.WorkerBusy
		}
	}
	return row
}

// Jobs implements state.Source.
func (s source) Jobs(_ context.Context, q state.Query) (state.Rows[state.Job], error) {
	n := s.n
	n.mu.Lock()
	rows := make([]state.Job, 0, len(n.jobs))
	for _, j := range n.jobs {
		if j.home != nil {
			continue // its node lists it
		}
		rows = append(rows, state.Job{ID: j.id.String(), State: state.JobRunning, Program: j.name, PID: j.session.pid,
			Namespace: j.session.namespace, Sessions: 1, Started: j.started})
	}
	n.mu.Unlock()
	slices.SortFunc(rows, func(a, b state.Job) int { return strings.Compare(a.ID, b.ID) })
	return state.Select(q, slices.Values(rows))
}

var layoutNames = map[spec.PackKind]string{spec.Pack: "PACK", spec.SpreadOut: "SPREAD", spec.StrictPack: "STRICT_PACK", spec.StrictSpread: "STRICT_SPREAD"}

// Groups implements state.Source.
func (s source) Groups(_ context.Context, q state.Query) (state.Rows[state.Group], error) {
	n := s.n
	n.mu.Lock()
	rows := make([]state.Group, 0, len(n.groups))
	for _, g := range n.groups {
		rows = append(rows, n.groupRow(g))
	}
	n.mu.Unlock()
	slices.SortFunc(rows, func(a, b state.Group) int { return strings.Compare(a.ID, b.ID) })
	return state.Select(q, slices.Values(rows))
}

func (n *Node) groupRow(g *group) state.Group {
	row := state.Group{ID: g.id.String(), Name: g.spec.Name, State: state.GroupPending, Job: g.spec.Job.String(), Layout: layoutNames[g.spec.Layout]}
	if g.placed() {
		row.State = state.GroupCreated
	}
	for i := range g.spec.Bundles {
		b := state.Bundle{Resources: g.spec.Bundles[i].Resources.Map()}
		if at := n.bundleNode(g, i); !at.IsZero() {
			b.Node = at.String()
		}
		row.Bundles = append(row.Bundles, b)
	}
	return row
}

// taskCounts counts living tasks roughly by state, without looking at each.
func (n *Node) taskCounts() map[string]int {
	queued, running := n.dispatch.Queued(), 0
	for _, p := range n.workers {
		running += len(p.tasks)
	}
	for _, r := range n.leases {
		running += r.active
	}
	return map[string]int{state.TaskPendingPlacement: queued, state.TaskRunning: running,
		state.TaskPendingArgs: max(len(n.tasks)-queued-running-len(n.instances), 0)}
}

// memoryUse is what the guard saw last, or, before it looked, this process.
func (n *Node) memoryUse() state.MemoryUse {
	if s := n.memory.machine.Stats(); s.Limit > 0 {
		return state.MemoryUse{Used: s.Used, Limit: s.Limit}
	}
	return state.MemoryUse{Used: residentBytes(), Limit: n.cfg.MemoryLimit}
}

// counts are tasks since the node's start, by their end.
type counts struct{ done, failed, retried int64 }

// pinned is how many bytes sessions keep from moving.
func pinned(s *store.Stats) (n int64) {
	for i := range s.Sessions {
		n += s.Sessions[i].Pinned
	}
	return n
}
