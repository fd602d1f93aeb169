package client

import (
	"context"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// request opens a request and returns its number and where its answer comes:
// a message, or an error if the session ends.
func (r *Remote) openRequest(ctx context.Context) (uint64, chan any, error) {
	if err := r.takeSlot(ctx); err != nil {
		return 0, nil, err
	}
	n, ch := r.request.Add(1), make(chan any, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		r.freeSlot()
		return 0, nil, r.err
	}
	r.requests[n] = ch
	return n, ch, nil
}

// maxSlots bounds what a node may allow.
const maxSlots = 1 << 16

// takeSlot waits until another request may be made.
func (r *Remote) takeSlot(ctx context.Context) error {
	select {
	case r.slots <- struct{}{}:
		return nil
	default:
	}
	if r.slots == nil {
		return nil
	}
	defer r.Blocked(ctx)()
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return wire.AsError(context.Cause(ctx), wire.Cancelled)
	case <-r.gone:
		return r.over()
	}
}

// freeSlot notes that a request was answered, or not made.
func (r *Remote) freeSlot() {
	if r.slots != nil {
		<-r.slots
	}
}

// ask sends a message whose request number is *n and waits for the answer.
func (r *Remote) ask(ctx context.Context, kind sessionv1.Kind, m wire.Message, n *uint64) (any, error) {
	number, ch, err := r.openRequest(ctx)
	if err != nil {
		return nil, err
	}
	*n = number
	r.out.send(kind, m)
	return r.awaitAnswer(ctx, number, ch)
}

func (r *Remote) awaitAnswer(ctx context.Context, n uint64, ch chan any) (any, error) {
	select {
	case got := <-ch:
		if err, ok := got.(error); ok {
			return nil, err
		}
		return got, nil
	case <-ctx.Done():
		r.forsake(n, ch)
		return nil, wire.AsError(context.Cause(ctx), wire.Cancelled)
	}
}

// forsake has a late answer to a request undone.
func (r *Remote) forsake(n uint64, ch chan any) {
	r.mu.Lock()
	_, waiting := r.requests[n]
	if waiting {
		r.requests[n] = nil
	}
	r.mu.Unlock()
	if !waiting {
		r.undo(<-ch)
	}
}

// undo gives back what an answer brought that nobody waits for any more.
func (r *Remote) undo(got any) {
	switch m := got.(type) {
	case *sessionv1.Reserved:
		if m.Error == nil {
			r.abort(m.Reservation)
		}
	case *sessionv1.Found:
		if a, err := wire.ReadTask(m.Actor); err == nil && m.Error == nil {
			r.Handle(a, -1)
		}
	}
}

// answer passes an answer to who waits for it.
func (r *Remote) answer(n uint64, got any) {
	r.mu.Lock()
	ch, waiting := r.requests[n]
	delete(r.requests, n)
	r.mu.Unlock()
	if waiting {
		r.freeSlot()
	}
	switch {
	case ch != nil:
		ch <- got
	case waiting:
		r.undo(got)
	}
}

// Lookup implements Session.
func (r *Remote) Lookup(ctx context.Context, namespace, name string) (ActorInfo, error) {
	m := &sessionv1.Lookup{Namespace: namespace, Name: name}
	return found(r.ask(ctx, sessionv1.Kind_KIND_LOOKUP, m, &m.Request))
}

func found(got any, err error) (ActorInfo, error) {
	if err != nil {
		return ActorInfo{}, err
	}
	m := got.(*sessionv1.Found)
	if m.Error != nil {
		return ActorInfo{}, wire.ErrorFromPB(m.Error)
	}
	a, err := wire.ReadTask(m.Actor)
	return ActorInfo{Actor: a, Class: m.Class, Language: m.Language}, err
}

// CreateRegistered implements Session.
func (r *Remote) CreateRegistered(ctx context.Context, c *Call) (ActorInfo, error) {
	n, ch, err := r.openRequest(ctx)
	if err != nil {
		return ActorInfo{}, err
	}
	if err := r.submit(ctx, c, sessionv1.Kind_KIND_CREATE, n); err != nil {
		r.mu.Lock()
		delete(r.requests, n)
		r.mu.Unlock()
		r.freeSlot()
		return ActorInfo{}, err
	}
	r.out.flush()
	return found(r.awaitAnswer(ctx, n, ch))
}

// CreateGroup implements Session.
func (r *Remote) CreateGroup(ctx context.Context, g id.Group, s *spec.Group) error {
	m := wire.GroupToPB(0, g, s)
	got, err := r.ask(ctx, sessionv1.Kind_KIND_GROUP, m, &m.Request)
	if err != nil {
		r.RemoveGroup(g)
		return err
	}
	if reply := got.(*sessionv1.Grouped); reply.Error != nil {
		return wire.ErrorFromPB(reply.Error)
	}
	return nil
}

// RemoveGroup implements Session.
func (r *Remote) RemoveGroup(g id.Group) {
	r.out.send(sessionv1.Kind_KIND_UNGROUP, &sessionv1.Group{Group: g[:]})
}

// Query implements Session.
func (r *Remote) Query(ctx context.Context, what string, ids []byte) ([]byte, error) {
	m := &sessionv1.Query{What: what, Id: ids}
	got, err := r.ask(ctx, sessionv1.Kind_KIND_QUERY, m, &m.Request)
	if err != nil {
		return nil, err
	}
	reply := got.(*sessionv1.Answer)
	if reply.Error != nil {
		return nil, wire.ErrorFromPB(reply.Error)
	}
	return reply.Json, nil
}
