package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/weftrun/weft/internal/dispatch"
	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// tellJob makes p know a job before the first message that is about it.
func (n *Node) tellJob(p *peer, of id.Job) {
	j := n.jobs[of]
	if j == nil || p.jobs[of] {
		return
	}
	p.jobs[of] = true
	n.post(p, &nodev1.Message{Body: &nodev1.Message_Job{Job: n.describeJob(j)}})
}

func (n *Node) describeJob(j *job) *nodev1.Job {
	home := n.id
	if j.home != nil {
		home = j.home.id
	}
	return &nodev1.Job{Id: j.id[:], Home: home[:], Name: j.name, Namespace: j.session.namespace, Python: j.python, Metadata: maps.Clone(j.metadata)}
}

// newGuestJob is the job of another node's driver.
func (n *Node) newGuestJob(of id.Job, m *nodev1.Job) *job {
	s := &session{job: of, namespace: m.Namespace, program: m.Name}
	return &job{id: of, session: s, name: m.Name, python: m.Python, metadata: m.Metadata, started: n.start.Add(n.now)}
}

// gotJob makes the job of another node's driver known here.
func (n *Node) gotJob(p *peer, m *nodev1.Job) error {
	of, err := wire.ReadJob(m.Id)
	if err != nil {
		return err
	}
	home, err := wire.ReadNode(m.Home)
	if err != nil {
		return err
	}
	p.jobs[of] = true
	if n.jobs[of] != nil || home == n.id {
		return nil
	}
	at := n.peers[home]
	if at == nil {
		return nil // it is dead, and so is the job
	}
	j := n.newGuestJob(of, m)
	j.home, n.jobs[of] = at, j
	return nil
}

// tellJobEnd has the other nodes end what they have of a job of this node's, but
// for detached actors as long as there are any.
func (n *Node) tellJobEnd(of id.Job) {
	detached := len(n.detached(of)) > 0
	for _, p := range n.peersInOrder() {
		if !detached {
			delete(p.jobs, of)
		}
		n.post(p, &nodev1.Message{Body: &nodev1.Message_JobEnd{JobEnd: &nodev1.JobEnd{Id: of[:], Detached: detached}}})
	}
}

func (n *Node) gotJobEnd(m *nodev1.JobEnd) error {
	of, err := wire.ReadJob(m.Id)
	if err != nil {
		return err
	}
	if j := n.jobs[of]; j != nil && j.home != nil {
		if j.session.ended = !m.Detached; j.session.ended {
			clear(j.keeps)
		}
		n.dropJob(j)
	}
	return nil
}

// endJobsOf ends what runs here for the drivers of a node that has died.
func (n *Node) endJobsOf(dead id.Node) {
	for _, j := range n.jobs {
		if j.home != nil && j.home.id == dead {
			j.session.ended = true
			for a := range j.keeps {
				n.seekKeeper(a)
			}
			n.dropJob(j)
		}
	}
}

// dropJob ends what runs here for another node's driver, but for detached actors.
func (n *Node) dropJob(j *job) {
	n.stepDispatch(&dispatch.Event{Kind: dispatch.JobEnd, Class: dispatch.Class{Job: j.id}})
	n.settle()
	n.killAll(j.id)
	for _, t := range n.detachedGuests(j.id) {
		if t.worker == 0 {
			n.enqueue(t) // dispatch has dropped it with the rest of the job's queues
		}
	}
	n.releaseJob(j.id)
}

// detachedGuests lists the constructors of a job's detached actors that another
// node has placed here, by id.
func (n *Node) detachedGuests(j id.Job) (ts []*task) {
	for tid := range n.guests {
		if t := n.tasks[tid]; t.spec.Job == j && t.spec.Kind == spec.KindCreate && t.spec.Actor.Detached {
			ts = append(ts, t)
		}
	}
	slices.SortFunc(ts, func(a, b *task) int { return slices.Compare(a.id[:], b.id[:]) })
	return ts
}

// hostsFor reports whether an actor lives here, or is about to, that outlives a
// job of another node's.
func (n *Node) hostsFor(j id.Job) bool {
	for _, h := range n.hosts {
		if h.spec.Job == j && h.spec.Actor.Detached {
			return true
		}
	}
	return len(n.detachedGuests(j)) > 0
}

// driverProgram is what a job's Go workers run: the program of its driver. That
// of another node's is copied here the first time.
func (n *Node) driverProgram(j *job) (*os.File, error) {
	if j.home == nil && !j.orphaned {
		return j.exe, nil
	}
	j.program.Lock()
	defer j.program.Unlock()
	if j.exe == nil {
		exe, err := n.copyProgram(j)
		if err != nil {
			return nil, &wire.Error{Code: wire.SetupFailed, Op: "fetch the driver's program", Message: err.Error(), Err: err}
		}
		j.exe = exe
	}
	return j.exe, nil
}

// copyProgram copies the program of a job's driver into a file without a name.
func (n *Node) copyProgram(j *job) (*os.File, error) {
	r, err := n.pullOf(n.ctx, j, "program/"+j.id.String())
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(n.dir, "program-")
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	_, err = io.Copy(f, r)
	err = errors.Join(err, r.Close(), f.Chmod(0o700), f.Close()) // nobody may have it open to write when it is run
	var exe *os.File
	if err == nil {
		exe, err = os.Open(f.Name())
	}
	return exe, errors.Join(err, os.Remove(f.Name()))
}

// serveProgram opens the program of a job's driver.
func (n *Node) serveProgram(job string) (io.ReadCloser, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, j := range n.jobs {
		switch {
		case j.id.String() != job:
		case j.noExe != nil:
			return nil, j.noExe
		case j.exe != nil:
			return os.Open(fmt.Sprintf("/proc/self/fd/%d", j.exe.Fd()))
		}
	}
	return nil, &wire.Error{Code: wire.NotFound, Op: "serve", Node: n.id, Message: "job " + job + " has ended, or its driver has no program"}
}

// fetchBlob answers a worker's Fetch with what another node has.
func (n *Node) fetchBlob(s *session, j *job, m *sessionv1.Fetch) {
	request, hash := m.Request, append([]byte(nil), m.Hash...)
	from := n.sendersOf(s, string(hash))
	n.spawnHere(func() {
		data, err := n.pullBlob(n.ctx, j, hash, from...)
		n.lock()
		defer n.unlock()
		reply := &sessionv1.Fetched{Request: request, Data: data}
		if err == nil {
			_, err = j.blobs.add(&sessionv1.Blob{Hash: hash, Data: data})
		}
		if err != nil {
			reply = &sessionv1.Fetched{Request: request, Error: wire.ErrorToPB(wire.AsError(err, wire.NotFound))}
		}
		s.answer(n, outgoing{kind: sessionv1.Kind_KIND_FETCHED, msg: reply})
	})
}

// sendersOf is the nodes that sent a worker a task whose code is the blob of that
// hash: what a task elsewhere made of a function of its own, its node has.
func (n *Node) sendersOf(s *session, hash string) (at []id.Node) {
	if s.worker == nil {
		return nil
	}
	for _, t := range s.worker.inOrder() {
		if g := n.guests[t.id]; g != nil && t.spec.Code == hash && !slices.Contains(at, g.owner.id) {
			at = append(at, g.owner.id)
		}
	}
	return at
}

// pullOf reads something of a job: at the nodes given, at that of its driver, or
// at any that has it.
func (n *Node) pullOf(ctx context.Context, j *job, name string, at ...id.Node) (io.ReadCloser, error) {
	n.mu.Lock()
	if j.home != nil && !j.home.gone {
		at = append(at, j.home.id)
	}
	for _, p := range n.peersInOrder() {
		if !slices.Contains(at, p.id) {
			at = append(at, p.id)
		}
	}
	n.mu.Unlock()
	err := error(&wire.Error{Code: wire.NotFound, Op: "fetch", Message: "no node has it"})
	for _, of := range at {
		r, failed := n.cfg.Network.Pull(ctx, of, name)
		if failed == nil {
			return r, nil
		}
		err = failed
	}
	return nil, err
}

func (n *Node) pullBlob(ctx context.Context, j *job, hash []byte, at ...id.Node) ([]byte, error) {
	r, err := n.pullOf(ctx, j, "blob/"+j.id.String()+"/"+hex.EncodeToString(hash), at...)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxBlobBytes+1))
	return data, errors.Join(err, r.Close())
}

// serveBlob opens a blob that is named by its job and hash.
func (n *Node) serveBlob(name string) (io.ReadCloser, error) {
	of, text, _ := strings.Cut(name, "/")
	hash, err := hex.DecodeString(text)
	if err != nil {
		return nil, &wire.Error{Code: wire.Protocol, Op: "serve", Message: "no hash: " + text}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, j := range n.jobs {
		if data := j.blobs.data[string(hash)]; j.id.String() == of && data != nil {
			return io.NopCloser(bytes.NewReader(data)), nil
		}
	}
	return nil, &wire.Error{Code: wire.NotFound, Op: "serve", Node: n.id, Message: "the job has no blob " + text}
}

// postLog sends a worker's line to the node of its driver.
func (n *Node) postLog(j *job, m *nodev1.Log) {
	if !j.home.gone {
		n.post(j.home, &nodev1.Message{Body: &nodev1.Message_Log{Log: m}})
	}
}

// gotLog passes a line that a worker at another node printed on to its driver.
func (n *Node) gotLog(m *nodev1.Log) error {
	of, err := wire.ReadJob(m.Job)
	if err != nil {
		return err
	}
	if j := n.jobs[of]; j != nil && j.session.conn != nil {
		c := j.session.conn.c
		n.later(func() {
			c.SendSide(sessionv1.Kind_KIND_DRIVER_LOG, &sessionv1.Log{Pid: m.Pid, Name: m.Name, Stderr: m.Stderr, Text: m.Text})
		})
	}
	return nil
}
