package node_test

import (
	"errors"
	"strings"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/wire"
)

// next reads to the next message of the kind.
func (d *rawDriver) next(t *testing.T, want sessionv1.Kind, m interface{ UnmarshalVT([]byte) error }) {
	t.Helper()
	for {
		kind, body, err := d.reader.Next()
		if err != nil || kind == sessionv1.Kind_KIND_GOODBYE {
			t.Fatalf("no %v: %v, %v", want, kind, err)
		}
		if kind == want {
			if err := m.UnmarshalVT(body); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// A task that no program of its job can run fails and says why.
func TestTaskOfAnotherLanguage(t *testing.T) {
	socket := startWith(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	for _, c := range []struct{ driver, task, program, says string }{
		{wire.Go, wire.Python, "/nonexistent", "pip install weft"},
		{wire.Go, wire.Python, "", "named no interpreter"},
		{wire.Python, wire.Go, "/nonexistent", "no such file"},
		{wire.Python, wire.Go, "", "named no Go program"},
	} {
		hello := &sessionv1.Hello{Language: c.driver, Entrypoint: "/nowhere", Programs: map[string]string{c.task: c.program}}
		d := dialRawAs(t, socket, hello)
		d.send(sessionv1.Kind_KIND_TEMPLATE, &sessionv1.Template{Id: 1, Function: "m:f", Returns: 1, Language: c.task, Isolated: true})
		d.send(sessionv1.Kind_KIND_SUBMIT, &sessionv1.Submit{Template: 1, Seq: id.Seq(d.session, 1), Await: true})
		var v sessionv1.ObjectValue
		d.next(t, sessionv1.Kind_KIND_VALUE, &v)
		if err := wire.ErrorFromPB(v.Value.Error); !errors.Is(err, wire.SetupFailed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s from %s, %q: %v", c.task, c.driver, c.program, err)
		}
	}
}

// Who finds an actor by its name learns what its creator said of it, from
// another job too.
func TestFoundActorHasItsMeta(t *testing.T) {
	socket := startWith(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	d, other := dialRawAs(t, socket, &sessionv1.Hello{Language: wire.Python}), dialRaw(t, socket)
	a := &sessionv1.ActorTemplate{Class: "C", Name: "n", Namespace: "ns", Concurrency: 1, Meta: []byte("\x80meta")}
	cpu := map[string]int64{"CPU": 10_000}
	d.send(sessionv1.Kind_KIND_TEMPLATE, &sessionv1.Template{Id: 1, Kind: 1, Function: "m:C", Language: wire.Python, Actor: a, Isolated: true, Resources: cpu})
	group := id.NewTask(d.node, id.Seq(d.session, 7)) // has the CPU, so that the actor stays pending
	d.send(sessionv1.Kind_KIND_GROUP, &sessionv1.Group{Request: 3, Group: group[:], Bundles: []*sessionv1.Bundle{{Resources: cpu}}})
	var created, found sessionv1.Found
	d.send(sessionv1.Kind_KIND_CREATE, &sessionv1.Submit{Template: 1, Seq: id.Seq(d.session, 1), Request: 1})
	d.next(t, sessionv1.Kind_KIND_FOUND, &created)
	other.send(sessionv1.Kind_KIND_LOOKUP, &sessionv1.Lookup{Request: 2, Namespace: "ns", Name: "n"})
	other.next(t, sessionv1.Kind_KIND_FOUND, &found)
	for _, f := range []*sessionv1.Found{&created, &found} {
		if f.Error != nil || string(f.Meta) != "\x80meta" || f.Class != "C" || f.Language != wire.Python || string(f.Actor) != string(created.Actor) {
			t.Errorf("found %v", f)
		}
	}
}
