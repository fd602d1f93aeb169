package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/weftrun/weft/internal/event"
	apiv1 "github.com/weftrun/weft/internal/gen/api/v1"
	"github.com/weftrun/weft/internal/gen/api/v1/apiv1connect"
	"github.com/weftrun/weft/internal/state"
)

// ErrUnreachable is returned, wrapped, when no node answers at an address.
var ErrUnreachable = errors.New("no node answers")

// Client asks a node. Make one with Dial.
type Client struct {
	address   string
	transport *http.Transport
	service   apiv1connect.NodeServiceClient
}

var _ state.Source = (*Client)(nil)

// Dial returns a client of the node whose API is at address: the path of a
// Unix socket, or an http:// URL. It does not connect yet.
func Dial(address string) *Client {
	c := &Client{address: address, transport: &http.Transport{}}
	url := address
	if !strings.HasPrefix(address, "http://") {
		url = "http://weft" // the name is in no request that leaves the machine
		c.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", address)
		}
	}
	c.service = apiv1connect.NewNodeServiceClient(&http.Client{Transport: c.transport}, url)
	return c
}

// Close releases idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Status implements state.Source.
func (c *Client) Status(ctx context.Context) (state.Status, error) {
	m, err := c.service.Status(ctx, connect.NewRequest(&apiv1.StatusRequest{}))
	if err != nil {
		return state.Status{}, c.problem(err)
	}
	return decode[state.Status](m.Msg), nil
}

// Tasks implements state.Source.
func (c *Client) Tasks(ctx context.Context, q state.Query) (state.Rows[state.Task], error) {
	return ask[state.Task](ctx, c, q, c.service.ListTasks)
}

// Actors implements state.Source.
func (c *Client) Actors(ctx context.Context, q state.Query) (state.Rows[state.Actor], error) {
	return ask[state.Actor](ctx, c, q, c.service.ListActors)
}

// Objects implements state.Source.
func (c *Client) Objects(ctx context.Context, q state.Query) (state.Rows[state.Object], error) {
	return ask[state.Object](ctx, c, q, c.service.ListObjects)
}

// Workers implements state.Source.
func (c *Client) Workers(ctx context.Context, q state.Query) (state.Rows[state.Worker], error) {
	return ask[state.Worker](ctx, c, q, c.service.ListWorkers)
}

// Jobs implements state.Source.
func (c *Client) Jobs(ctx context.Context, q state.Query) (state.Rows[state.Job], error) {
	return ask[state.Job](ctx, c, q, c.service.ListJobs)
}

// Nodes implements state.Source.
func (c *Client) Nodes(ctx context.Context, q state.Query) (state.Rows[state.Node], error) {
	return ask[state.Node](ctx, c, q, c.service.ListNodes)
}

// Groups implements state.Source.
func (c *Client) Groups(ctx context.Context, q state.Query) (state.Rows[state.Group], error) {
	return ask[state.Group](ctx, c, q, c.service.ListGroups)
}

func ask[T, M any, P interface {
	*M
	proto.Message
}](ctx context.Context, c *Client, q state.Query, call func(context.Context, *connect.Request[apiv1.ListRequest]) (*connect.Response[M], error)) (state.Rows[T], error) {
	r := &apiv1.ListRequest{Limit: int64(q.Limit), After: q.After, Ended: q.Ended}
	for _, f := range q.Filters {
		r.Filters = append(r.Filters, &apiv1.Filter{Field: f.Field, Op: string(f.Op), Value: f.Value})
	}
	answer, err := call(ctx, connect.NewRequest(r))
	if err != nil {
		return state.Rows[T]{}, c.problem(err)
	}
	rows := decode[state.Rows[T]](P(answer.Msg))
	if rows.Rows == nil {
		rows.Rows = []T{}
	}
	return rows, nil
}

// Why implements state.Source.
func (c *Client) Why(ctx context.Context, id string) (*state.Reason, error) {
	m, err := c.service.Why(ctx, connect.NewRequest(&apiv1.WhyRequest{Id: id}))
	if err != nil {
		return nil, c.problem(err)
	}
	reason := decode[state.Reason](m.Msg.Reason)
	return &reason, nil
}

// Stop asks the node to end once running tasks have, or grace is over; zero is
// at once. So is a second one.
func (c *Client) Stop(ctx context.Context, grace time.Duration) error {
	_, err := c.service.Stop(ctx, connect.NewRequest(&apiv1.StopRequest{Now: grace == 0, GraceNs: int64(grace)}))
	return c.problem(err)
}

// Events yields what happened, oldest first; with follow it goes on with what
// happens, until ctx ends or the node does. onlyNew leaves out the past.
// Events that the node had already dropped are a gap event.
func (c *Client) Events(ctx context.Context, follow, onlyNew bool) iter.Seq2[event.View, error] {
	return func(yield func(event.View, error) bool) {
		stream, err := c.service.Events(ctx, connect.NewRequest(&apiv1.EventsRequest{Follow: follow, New: onlyNew}))
		if err != nil {
			yield(event.View{}, c.problem(err))
			return
		}
		defer func() { _ = stream.Close() }()
		for stream.Receive() {
			if !yieldEvents(stream.Msg(), yield) {
				return
			}
		}
		if err := stream.Err(); err != nil {
			yield(event.View{}, c.problem(err))
		}
	}
}

func yieldEvents(m *apiv1.EventsResponse, yield func(event.View, error) bool) bool {
	if m.Missed > 0 {
		gap := event.View{
			Event: event.Gap.String(), Number: int(m.Missed), NumberIs: "records", Text: "events were dropped before they could be read",
		}
		if len(m.Events) > 0 {
			gap.Time = m.Events[0].Time.AsTime()
		}
		if !yield(gap, nil) {
			return false
		}
	}
	for _, e := range m.Events {
		if !yield(decode[event.View](e), nil) {
			return false
		}
	}
	return true
}

// problem turns a Connect error to one of this package and says where.
func (c *Client) problem(err error) error {
	var remote *connect.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &remote):
		return err
	case remote.Code() == connect.CodeNotFound && connect.IsWireError(err):
		return fmt.Errorf("%w: %s", state.ErrNotFound, strings.TrimSuffix(remote.Message(), ": "+state.ErrNotFound.Error()))
	case remote.Code() == connect.CodeUnavailable:
		return fmt.Errorf("%w at %s: %s", ErrUnreachable, c.address, remote.Message())
	case remote.Code() == connect.CodeCanceled || remote.Code() == connect.CodeDeadlineExceeded:
		return fmt.Errorf("the node at %s: %w", c.address, remote.Unwrap())
	}
	return errors.New(remote.Message())
}
