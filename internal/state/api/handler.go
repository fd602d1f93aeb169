package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/weftrun/weft/internal/event"
	apiv1 "github.com/weftrun/weft/internal/gen/api/v1"
	"github.com/weftrun/weft/internal/gen/api/v1/apiv1connect"
	"github.com/weftrun/weft/internal/state"
)

// MaxRows is the most that one List returns; a client asks for the next page.
const MaxRows = 10_000

// maxRequest bounds what a client may send, in bytes.
const maxRequest = 1 << 20

// eventPage is how many events go into one message of a stream.
const eventPage = 500

// Node is what a Handler speaks for.
type Node interface {
	State() state.Source
	Events() *event.Log
}

// defaultGrace is how long running tasks may take to end if nothing is said.
const defaultGrace = 30 * time.Second

// Handler returns the API of a node. stop is called, once for each request,
// when a client asks for the node to end, with how long running tasks may take;
// it must not wait for that.
func Handler(n Node, stop func(grace time.Duration)) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(apiv1connect.NewNodeServiceHandler(&service{node: n, stop: stop}, connect.WithReadMaxBytes(maxRequest)))
	mux.Handle("GET /metrics", metricsHandler(n))
	addDebug(mux, n)
	return mux
}

// service implements the generated interface.
type service struct {
	node Node
	stop func(grace time.Duration)
}

var _ apiv1connect.NodeServiceHandler = (*service)(nil)

// Status implements NodeService.
func (s *service) Status(ctx context.Context, _ *connect.Request[apiv1.StatusRequest]) (*connect.Response[apiv1.StatusResponse], error) {
	status, err := s.node.State().Status(ctx)
	if err != nil {
		return nil, problem(err)
	}
	return connect.NewResponse(encode(&apiv1.StatusResponse{}, status)), nil
}

type listRequest = connect.Request[apiv1.ListRequest]

// ListTasks implements NodeService.
func (s *service) ListTasks(ctx context.Context, r *listRequest) (*connect.Response[apiv1.ListTasksResponse], error) {
	return list(ctx, r, s.node.State().Tasks, &apiv1.ListTasksResponse{})
}

// ListActors implements NodeService.
func (s *service) ListActors(ctx context.Context, r *listRequest) (*connect.Response[apiv1.ListActorsResponse], error) {
	return list(ctx, r, s.node.State().Actors, &apiv1.ListActorsResponse{})
}

// ListObjects implements NodeService.
func (s *service) ListObjects(ctx context.Context, r *listRequest) (*connect.Response[apiv1.ListObjectsResponse], error) {
	return list(ctx, r, s.node.State().Objects, &apiv1.ListObjectsResponse{})
}

// ListWorkers implements NodeService.
func (s *service) ListWorkers(ctx context.Context, r *listRequest) (*connect.Response[apiv1.ListWorkersResponse], error) {
	return list(ctx, r, s.node.State().Workers, &apiv1.ListWorkersResponse{})
}

// ListJobs implements NodeService.
func (s *service) ListJobs(ctx context.Context, r *listRequest) (*connect.Response[apiv1.ListJobsResponse], error) {
	return list(ctx, r, s.node.State().Jobs, &apiv1.ListJobsResponse{})
}

// ListNodes implements NodeService.
func (s *service) ListNodes(ctx context.Context, r *listRequest) (*connect.Response[apiv1.ListNodesResponse], error) {
	return list(ctx, r, s.node.State().Nodes, &apiv1.ListNodesResponse{})
}

// ListGroups implements NodeService.
func (s *service) ListGroups(ctx context.Context, r *listRequest) (*connect.Response[apiv1.ListGroupsResponse], error) {
	return list(ctx, r, s.node.State().Groups, &apiv1.ListGroupsResponse{})
}

func list[T, M any, P interface {
	*M
	proto.Message
}](ctx context.Context, r *listRequest, rows func(context.Context, state.Query) (state.Rows[T], error), answer P) (*connect.Response[M], error) {
	q := state.Query{Limit: int(min(r.Msg.Limit, MaxRows)), After: r.Msg.After, Ended: r.Msg.Ended}
	for _, f := range r.Msg.Filters {
		q.Filters = append(q.Filters, state.Filter{Field: f.Field, Op: state.Op(f.Op), Value: f.Value})
	}
	if _, err := state.Select[T](state.Query{Filters: q.Filters}, func(func(T) bool) {}); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	found, err := rows(ctx, q)
	if err != nil {
		return nil, problem(err)
	}
	return connect.NewResponse((*M)(encode(answer, found))), nil
}

// Why implements NodeService.
func (s *service) Why(ctx context.Context, r *connect.Request[apiv1.WhyRequest]) (*connect.Response[apiv1.WhyResponse], error) {
	reason, err := s.node.State().Why(ctx, r.Msg.Id)
	if err != nil {
		return nil, problem(err)
	}
	return connect.NewResponse(&apiv1.WhyResponse{Reason: encode(&apiv1.Reason{}, reason)}), nil
}

// Events implements NodeService.
func (s *service) Events(ctx context.Context, r *connect.Request[apiv1.EventsRequest], to *connect.ServerStream[apiv1.EventsResponse]) error {
	log := s.node.Events()
	end := log.End()
	var cursor event.Cursor
	if r.Msg.New {
		cursor = end
	}
	var page []event.Entry
	for {
		var missed uint64
		page, cursor, missed = log.Read(cursor, page[:0], eventPage)
		if len(page) > 0 || missed > 0 {
			if err := to.Send(eventsMessage(page, missed, log)); err != nil {
				return err
			}
		}
		atEnd := cursor.Ordinary >= end.Ordinary && cursor.Kept >= end.Kept
		if !r.Msg.Follow && (atEnd || len(page) == 0) {
			return nil
		}
		if len(page) == 0 {
			if err := log.Wait(ctx, cursor); err != nil {
				return nil //nolint:nilerr // the client has left, or the node ends
			}
		}
	}
}

func eventsMessage(page []event.Entry, missed uint64, log *event.Log) *apiv1.EventsResponse {
	m := &apiv1.EventsResponse{Missed: int64(missed)}
	for i := range page {
		m.Events = append(m.Events, encode(&apiv1.Event{}, page[i].View(log.Start())))
	}
	return m
}

// Stop implements NodeService.
func (s *service) Stop(_ context.Context, r *connect.Request[apiv1.StopRequest]) (*connect.Response[apiv1.StopResponse], error) {
	grace := cmp.Or(time.Duration(r.Msg.GraceNs), defaultGrace)
	if r.Msg.Now || grace < 0 {
		grace = 0
	}
	s.stop(grace)
	return connect.NewResponse(&apiv1.StopResponse{}), nil
}

// problem gives an error of a Source its code.
func problem(err error) error {
	switch {
	case errors.Is(err, state.ErrNotFound):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}
