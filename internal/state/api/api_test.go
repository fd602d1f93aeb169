package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/weftrun/weft/internal/event"
	apiv1 "github.com/weftrun/weft/internal/gen/api/v1"
	"github.com/weftrun/weft/internal/gen/api/v1/apiv1connect"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every view and its message.
var pairs = []struct {
	view    any
	message proto.Message
}{
	{state.Status{}, &apiv1.StatusResponse{}},
	{state.Rows[state.Task]{}, &apiv1.ListTasksResponse{}},
	{state.Rows[state.Actor]{}, &apiv1.ListActorsResponse{}},
	{state.Rows[state.Object]{}, &apiv1.ListObjectsResponse{}},
	{state.Rows[state.Worker]{}, &apiv1.ListWorkersResponse{}},
	{state.Rows[state.Job]{}, &apiv1.ListJobsResponse{}},
	{state.Rows[state.Node]{}, &apiv1.ListNodesResponse{}},
	{state.Rows[state.Group]{}, &apiv1.ListGroupsResponse{}},
	{state.Reason{}, &apiv1.Reason{}},
	{event.View{}, &apiv1.Event{}},
}

// Views and messages have the same fields: none is lost on the way.
func TestSameFields(t *testing.T) {
	for _, p := range pairs {
		sameFields(t, reflect.TypeOf(p.view), p.message.ProtoReflect().Descriptor(), map[reflect.Type]bool{})
	}
}

func sameFields(t *testing.T, view reflect.Type, m protoreflect.MessageDescriptor, seen map[reflect.Type]bool) {
	if seen[view] {
		return
	}
	seen[view] = true
	if view.NumField() != m.Fields().Len() {
		t.Errorf("%v has %d fields, %s has %d", view, view.NumField(), m.FullName(), m.Fields().Len())
	}
	eachField(view, m, func(i int, f protoreflect.FieldDescriptor) {
		element := view.Field(i).Type
		for element.Kind() == reflect.Slice || element.Kind() == reflect.Pointer {
			element = element.Elem()
		}
		if element.Kind() == reflect.Struct && element != reflect.TypeFor[time.Time]() {
			sameFields(t, element, f.Message(), seen)
		}
	})
}

// Whatever a view has comes back from its message.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkRoundTrip(t, state.Status{}, &apiv1.StatusResponse{})
		checkRoundTrip(t, state.Rows[state.Task]{}, &apiv1.ListTasksResponse{})
		checkRoundTrip(t, state.Rows[state.Group]{}, &apiv1.ListGroupsResponse{})
		checkRoundTrip(t, state.Rows[state.Worker]{}, &apiv1.ListWorkersResponse{})
		checkRoundTrip(t, state.Reason{}, &apiv1.Reason{})
		checkRoundTrip(t, event.View{}, &apiv1.Event{})
	})
}

func checkRoundTrip[V any, M proto.Message](t *rapid.T, v V, m M) {
	fill(t, reflect.ValueOf(&v).Elem(), 3)
	encode(m, v)
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	proto.Reset(m)
	if err := proto.Unmarshal(wire, m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, decode[V](m)); diff != "" {
		t.Fatalf("-want +got\n%s", diff)
	}
}

// fill draws a value; trees are at most that deep.
func fill(t *rapid.T, v reflect.Value, deep int) {
	if _, ok := reflect.TypeAssert[time.Time](v); ok {
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 7).UTC()))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "a", "größer"}).Draw(t, "text"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.SampledFrom([]int64{0, 1, -1, 1 << 40}).Draw(t, "number"))
	case reflect.Float64:
		v.SetFloat(rapid.SampledFrom([]float64{0, 0.5, -1}).Draw(t, "float"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(t, field, deep)
		}
	case reflect.Pointer:
		if deep > 0 && rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), deep-1)
		}
	case reflect.Slice:
		fillSlice(t, v, deep)
	case reflect.Map:
		for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"CPU", "memory", ""}), 0, 2, rapid.ID[string]).Draw(t, "keys") {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			element := reflect.New(v.Type().Elem()).Elem()
			fill(t, element, deep)
			v.SetMapIndex(reflect.ValueOf(key), element)
		}
	default:
		t.Fatalf("a field of kind %v", v.Kind())
	}
}

func fillSlice(t *rapid.T, v reflect.Value, deep int) {
	n := rapid.IntRange(0, 2).Draw(t, "n")
	if n == 0 || deep == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		e := v.Index(i)
		if e.Kind() == reflect.Pointer { // a list has no nil
			e.Set(reflect.New(e.Type().Elem()))
			e = e.Elem()
		}
		fill(t, e, deep-1)
	}
}

// fakeNode is a node of fixed state.
type fakeNode struct {
	state.Snapshot
	log     *event.Log
	stopped chan time.Duration
}

func (n *fakeNode) State() state.Source { return &n.Snapshot }
func (n *fakeNode) Events() *event.Log  { return n.log }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newFake() *fakeNode {
	n := &fakeNode{log: event.New(event.Config{Start: start}), stopped: make(chan time.Duration, 10)}
	n.Summary = state.Status{
		Node: state.Node{
			ID: "a102030405060708", State: state.NodeAlive, Version: "v1", Workers: 2, Running: 1, Total: map[string]float64{"CPU": 8}, Free: map[string]float64{"CPU": 7},
			Store: state.StoreUse{Used: 1 << 20, Limit: 1 << 30}, Started: start,
		},
		Tasks: map[string]int{state.TaskRunning: 1}, Actors: map[string]int{state.ActorAlive: 3}, Jobs: 1, Now: start.Add(time.Hour),
	}
	for i := range 30 {
		n.TaskRows = append(n.TaskRows, state.Task{
			ID: id.NewTask(id.Node{0xa1}, uint64(i)).String(), Name: "square", State: []string{state.TaskRunning, state.TaskFinished}[i%2],
			Resources: map[string]float64{"CPU": 1}, Submitted: start,
		})
	}
	n.WorkerRows = []state.Worker{{ID: 2}, {ID: 10}}
	n.ReasonsByID = map[string]*state.Reason{
		"a1": {Kind: "task", ID: "a1", State: state.TaskPendingArgs, WaitsFor: []*state.Reason{{Kind: "object", ID: "b2"}}},
	}
	square := n.log.Name("square")
	n.log.Append(time.Second, event.Record{Kind: event.TaskDone, Name: square, Ran: 3 * time.Millisecond, Queued: 5})
	n.log.Note(2*time.Second, event.Record{Kind: event.TaskFailed, Name: square, N: 1, Cause: event.UserError}, "boom")
	n.log.Append(3*time.Second, event.Record{Kind: event.ObjectSpilled, Bytes: 4096})
	return n
}

// serveUnix runs a handler on a socket for the test's time.
func serveUnix(t *testing.T, h http.Handler) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, h)
	c := Dial(socket)
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, l net.Listener, h http.Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func serveFake(t *testing.T) (*fakeNode, *Client) {
	n := newFake()
	return n, serveUnix(t, Handler(n, func(grace time.Duration) { n.stopped <- grace }))
}

// A client's answers are those of the node.
func TestClientIsASource(t *testing.T) {
	n, c := serveFake(t)
	status, err := c.Status(t.Context())
	if diff := cmp.Diff(n.Summary, status); diff != "" || err != nil {
		t.Errorf("status: %v, -want +got\n%s", err, diff)
	}
	q := state.Query{Filters: []state.Filter{{Field: "state", Op: state.Is, Value: "RUNNING"}}, Limit: 4, After: n.TaskRows[2].ID}
	want, _ := n.Tasks(t.Context(), q)
	got, err := c.Tasks(t.Context(), q)
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(got.Rows) != 4 || !got.Truncated || got.Total != 15 {
		t.Errorf("tasks: %v, -want +got\n%s", err, diff)
	}
	reason, err := c.Why(t.Context(), "a1")
	if diff := cmp.Diff(n.ReasonsByID["a1"], reason); diff != "" || err != nil {
		t.Errorf("why: %v, -want +got\n%s", err, diff)
	}
	for name, list := range map[string]func() (int, error){
		"actors":  func() (int, error) { r, err := c.Actors(t.Context(), state.Query{}); return len(r.Rows), err },
		"objects": func() (int, error) { r, err := c.Objects(t.Context(), state.Query{}); return len(r.Rows), err },
		"workers": func() (int, error) { r, err := c.Workers(t.Context(), state.Query{}); return len(r.Rows) - 2, err },
		"jobs":    func() (int, error) { r, err := c.Jobs(t.Context(), state.Query{}); return len(r.Rows), err },
		"nodes":   func() (int, error) { r, err := c.Nodes(t.Context(), state.Query{}); return len(r.Rows), err },
		"groups":  func() (int, error) { r, err := c.Groups(t.Context(), state.Query{}); return len(r.Rows), err },
	} {
		if n, err := list(); err != nil || n != 0 {
			t.Errorf("%s: %d more rows than wanted, %v", name, n, err)
		}
	}
}

func TestClientErrors(t *testing.T) {
	n, c := serveFake(t)
	if _, err := c.Why(t.Context(), "ff"); !errors.Is(err, state.ErrNotFound) || err.Error() != "not found: ff" {
		t.Errorf("why of an unknown id: %v", err)
	}
	_, err := c.Jobs(t.Context(), state.Query{Filters: []state.Filter{{Field: "colour", Op: state.Is}}})
	if err == nil || !strings.Contains(err.Error(), `no field "colour"`) {
		t.Errorf("a filter on no field: %v", err)
	}
	n.FailWith = errors.New("the node is unwell")
	if _, err := c.Status(t.Context()); err == nil || err.Error() != "the node is unwell" {
		t.Errorf("a node's own error: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	nobody := Dial(filepath.Join(t.TempDir(), "no.sock"))
	defer nobody.Close()
	if _, err := nobody.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no.sock") {
		t.Errorf("no node: %v", err)
	}
}

func TestStop(t *testing.T) {
	n, c := serveFake(t)
	for _, grace := range []time.Duration{0, time.Minute} {
		if err := c.Stop(t.Context(), grace); err != nil {
			t.Fatal(err)
		}
		if got := <-n.stopped; got != grace {
			t.Errorf("grace is %v, want %v", got, grace)
		}
	}
}

func names(t *testing.T, c *Client, follow, onlyNew bool, limit int) []string {
	var got []string
	for v, err := range c.Events(t.Context(), follow, onlyNew) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v.Event)
		if len(got) == limit {
			break
		}
	}
	return got
}

func TestEvents(t *testing.T) {
	n, c := serveFake(t)
	past := []string{"task_done", "task_failed", "object_spilled"}
	if got := names(t, c, false, false, 0); !slices.Equal(got, past) {
		t.Errorf("the past is %q", got)
	}
	if got := names(t, c, false, true, 0); len(got) != 0 {
		t.Errorf("nothing new is %q", got)
	}
	first := true
	for v, err := range c.Events(t.Context(), true, false) {
		if err != nil {
			t.Fatal(err)
		}
		if first { // it is following now
			n.log.Note(4*time.Second, event.Record{Kind: event.JobEnded}, "done")
			first = false
		}
		if v.Event == "job_ended" {
			if v.Text != "done" || !v.Time.Equal(start.Add(4*time.Second)) {
				t.Errorf("the new event is %+v", v)
			}
			break
		}
	}
	for i := range 20_000 {
		n.log.Append(time.Duration(i)*time.Second, event.Record{Kind: event.ActorAlive})
	}
	if got := names(t, c, false, false, 2); got[0] != "gap" {
		t.Errorf("after the ring wrapped: %q", got)
	}
	if got := names(t, c, false, false, 0); len(got) < 16384 {
		t.Errorf("%d events", len(got))
	}
}

// A server that ends does not wait for those who follow its events.
func TestServeEndsStreams(t *testing.T) {
	n := newFake()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Handler(n, nil)) }()
	c := Dial(l.Addr().String())
	defer c.Close()
	for _, err := range c.Events(t.Context(), true, false) {
		if err != nil {
			break // the stream has ended
		}
		cancel()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	broken, err := net.Listen("unix", filepath.Join(t.TempDir(), "b"))
	if err != nil {
		t.Fatal(err)
	}
	_ = broken.Close()
	if err := Serve(t.Context(), broken, http.NotFoundHandler()); err == nil {
		t.Error("serving on a closed listener is no error")
	}
}

func get(t *testing.T, c *Client, path string) (int, string) {
	t.Helper()
	r, err := (&http.Client{Transport: c.transport}).Get("http://weft" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestMetrics(t *testing.T) {
	n, c := serveFake(t)
	code, body := get(t, c, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	for _, want := range []string{
		`weft_event_records_total{kind="task_done"} 1`,
		`weft_task_failed_total{cause="user_error"} 1`,
		`weft_object_spilled_bytes_total 4096`,
		`weft_task_run_seconds_bucket{le="0.004194304"} 2`,
		`weft_task_run_seconds_count 2`,
		`weft_task_living_count{state="RUNNING"} 1`,
		`weft_node_resource_free_units{resource="CPU"} 7`,
		`weft_store_used_bytes 1.048576e+06`,
		`weft_node_info{node="a102030405060708",version="v1"} 1`,
		`go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	n.FailWith = errors.New("unwell")
	if _, body := get(t, c, "/metrics"); !strings.Contains(body, "weft_event_records_total") || strings.Contains(body, "weft_node_info{") {
		t.Errorf("a node without a status shows\n%s", body)
	}
}

// Names follow weft_<subsystem>_<thing>_<unit>, and none is of an unbounded set.
func TestMetricNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewMetrics(newFake()))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	bounded := []string{"kind", "cause", "state", "resource", "node", "version"}
	for _, f := range families {
		parts := strings.Split(f.GetName(), "_")
		if parts[0] != "weft" || len(parts) < 3 {
			t.Errorf("%s", f.GetName())
		}
		for _, label := range f.GetMetric()[0].GetLabel() {
			if !slices.Contains(bounded, label.GetName()) {
				t.Errorf("%s has label %s", f.GetName(), label.GetName())
			}
		}
	}
}

func TestDebugPages(t *testing.T) {
	n, c := serveFake(t)
	_, index := get(t, c, "/")
	for _, p := range pages {
		if !strings.Contains(index, `href="/debug/`+p.path+`"`) {
			t.Errorf("no link to %s", p.path)
		}
		if code, body := get(t, c, "/debug/"+p.path); code != http.StatusOK || body == "" {
			t.Errorf("%s: %d %q", p.path, code, body)
		}
	}
	if _, body := get(t, c, "/debug/tasks"); !strings.Contains(body, n.TaskRows[7].ID) {
		t.Errorf("tasks:\n%s", body)
	}
	if _, body := get(t, c, "/debug/why/a1"); !strings.Contains(body, "└─ object b2") {
		t.Errorf("why:\n%s", body)
	}
	for path, want := range map[string]int{"/debug/why/ff": 404, "/debug/nothing": 404, "/nothing": 404, "/debug/pprof/goroutine?debug=1": 200} {
		if code, _ := get(t, c, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	n.FailWith = errors.New("unwell")
	if code, body := get(t, c, "/debug/tasks"); code != http.StatusInternalServerError || !strings.Contains(body, "unwell") {
		t.Errorf("a failing page: %d %s", code, body)
	}
}

// On TCP a page in a browser can reach the node, but not make it answer.
func TestHostAndOrigin(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, Handler(newFake(), nil))
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{address, "", 200},
		{"localhost:" + port, "", 200},
		{"[::1]:" + port, "", 200},
		{address, "http://" + address, 200},
		{"evil.example:" + port, "", 403}, // a name that was rebound to 127.0.0.1
		{address, "http://evil.example", 403},
		{address, "http://localhost:1", 403},
		{address, "null", 403},
		{"10.1.2.3", "", 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("Host %q, Origin %q: %d, want %d", c.host, c.origin, answer.StatusCode, c.want)
		}
	}
	client := Dial("http://" + address)
	defer client.Close()
	if _, err := client.Status(t.Context()); err != nil {
		t.Errorf("a client over TCP: %v", err)
	}
}

// curl's form: JSON over HTTP/1.1.
func TestJSON(t *testing.T) {
	_, c := serveFake(t)
	r, err := (&http.Client{Transport: c.transport}).Post("http://weft/weft.api.v1.NodeService/ListTasks", "application/json", strings.NewReader(`{"limit": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(body), `"state":"RUNNING"`) || !strings.Contains(string(body), `"truncated":true`) {
		t.Errorf("%d %s", r.StatusCode, body)
	}
}

// gRPC needs HTTP/2, which is there without TLS.
func TestGRPC(t *testing.T) {
	n, c := serveFake(t)
	c.transport.Protocols = new(http.Protocols)
	c.transport.Protocols.SetUnencryptedHTTP2(true)
	service := apiv1connect.NewNodeServiceClient(&http.Client{Transport: c.transport}, "http://weft", connect.WithGRPC())
	status, err := service.Status(t.Context(), connect.NewRequest(&apiv1.StatusRequest{}))
	if err != nil || status.Msg.Node.Id != n.Summary.Node.ID {
		t.Errorf("%v, %v", status, err)
	}
}

func BenchmarkEncode(b *testing.B) {
	rows := state.Rows[state.Task]{Rows: newFake().TaskRows}
	b.ReportAllocs()
	for b.Loop() {
		encode(&apiv1.ListTasksResponse{}, rows)
	}
}
