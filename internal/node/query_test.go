package node_test

import (
	"encoding/json"
	"strings"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/wire"
)

// A session can ask for rows, for reasons and for what happened.
func TestQueries(t *testing.T) {
	socket := startWith(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	d := dialRaw(t, socket)
	d.send(sessionv1.Kind_KIND_TEMPLATE, &sessionv1.Template{Id: 1, Function: "m:f", Name: "never", Returns: 1, Resources: map[string]int64{"GPU": 10_000}})
	d.send(sessionv1.Kind_KIND_SUBMIT, &sessionv1.Submit{Template: 1, Seq: id.Seq(d.session, 1)})
	ask := func(what, about string) *sessionv1.Answer {
		var a sessionv1.Answer
		d.send(sessionv1.Kind_KIND_QUERY, &sessionv1.Query{Request: 5, What: what, Id: []byte(about)})
		d.next(t, sessionv1.Kind_KIND_ANSWER, &a)
		return &a
	}
	var rows state.Rows[state.Task]
	a := ask("tasks", `{"filters":[{"field":"name","op":"=","value":"never"}],"limit":10}`)
	if err := json.Unmarshal(a.Json, &rows); err != nil || rows.Total != 1 || rows.Rows[0].State != state.TaskFailed {
		t.Fatalf("tasks: %s, %v", a.Json, err)
	}
	if row := rows.Rows[0]; row.Kind != state.NormalTask || row.Function != "m:f" {
		t.Errorf("an ended task: %+v", row)
	}
	if a := ask("events", ""); a.Error != nil || !strings.Contains(string(a.Json), `"task_failed"`) {
		t.Errorf("events: %s, %v", a.Json, a.Error)
	}
	for _, what := range []string{"actors", "objects", "workers", "jobs", "nodes", "groups"} {
		if a := ask(what, "{}"); a.Error != nil || !strings.HasPrefix(string(a.Json), `{"rows":[`) {
			t.Errorf("%s: %s, %v", what, a.Json, a.Error)
		}
	}
	if a := ask("why", rows.Rows[0].ID); a.Error != nil || !strings.Contains(string(a.Json), rows.Rows[0].ID) {
		t.Errorf("why: %s, %v", a.Json, a.Error)
	}
	if a := ask("timeline", ""); a.Error != nil || !strings.Contains(string(a.Json), "traceEvents") {
		t.Errorf("timeline: %s, %v", a.Json, a.Error)
	}
	for _, c := range []struct {
		what, about string
		code        wire.Code
	}{
		{"why", strings.Repeat("0", 32), wire.NotFound}, {"tasks", `{"filters":[{"field":"no"}]}`, wire.Invalid},
		{"tasks", "no JSON", wire.Invalid}, {"nothing", "", wire.NotFound},
	} {
		if err := wire.ErrorFromPB(ask(c.what, c.about).Error); err == nil || err.Code != c.code {
			t.Errorf("%s %q: %v", c.what, c.about, err)
		}
	}
}
