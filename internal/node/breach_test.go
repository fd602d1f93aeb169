package node_test

import (
	"strings"
	"testing"

	"github.com/weftrun/weft"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/internal/wire"
)

// rawTemplate describes inc.
func rawTemplate(number uint32) *sessionv1.Template {
	return &sessionv1.Template{Id: number, Function: "node_test.inc", Returns: 1}
}

// Who breaks the protocol is told how and ended, and nobody else is.
func TestBreach(t *testing.T) {
	socket := startWith(t, node.Config{Resources: map[string]float64{"CPU": 1}})
	bystander := open(t, weft.Address(socket))
	tests := []struct {
		name, reason string
		do           func(d *rawDriver)
	}{
		{"a sequence number of another session", "is not of session", func(d *rawDriver) {
			d.send(sessionv1.Kind_KIND_TEMPLATE, rawTemplate(1))
			d.send(sessionv1.Kind_KIND_SUBMIT, &sessionv1.Submit{Template: 1, Seq: id.Seq(d.session-1, 1)})
		}},
		{"a template that was not registered", "unknown template", func(d *rawDriver) {
			d.send(sessionv1.Kind_KIND_SUBMIT, &sessionv1.Submit{Template: 9, Seq: id.Seq(d.session, 1)})
		}},
		{"a blob that is not what its hash says", "not that of its bytes", func(d *rawDriver) {
			d.send(sessionv1.Kind_KIND_BLOB, &sessionv1.Blob{Hash: make([]byte, 32), Data: []byte("code")})
		}},
		{"a Python function that shares its process", "must be isolated", func(d *rawDriver) {
			m := rawTemplate(1)
			m.Language = wire.Python
			d.send(sessionv1.Kind_KIND_TEMPLATE, m)
		}},
		{"an id used twice", "used twice", func(d *rawDriver) {
			for range 2 {
				d.send(sessionv1.Kind_KIND_PUT, &sessionv1.Put{Seq: id.Seq(d.session, 1), Value: &sessionv1.Value{Data: []byte("x")}})
			}
		}},
		{"a hold of less than nothing", "a count of -3", func(d *rawDriver) {
			d.send(sessionv1.Kind_KIND_HOLD, &sessionv1.Counts{Ids: make([]byte, 20), N: []int32{-3}})
		}},
		{"a drop of less than nothing", "a count of -3", func(d *rawDriver) {
			d.send(sessionv1.Kind_KIND_DROP, &sessionv1.Counts{Ids: make([]byte, 20), N: []int32{-3}})
		}},
		{"a result of a driver's", "only workers", func(d *rawDriver) {
			d.send(sessionv1.Kind_KIND_RESULT, &sessionv1.Result{Task: make([]byte, 16)})
		}},
		{"a seal of what was not reserved", "", func(d *rawDriver) {
			d.send(sessionv1.Kind_KIND_SEAL, &sessionv1.Seal{Reservation: 77, Seq: id.Seq(d.session, 1)})
		}},
		{"too many templates", "templates", func(d *rawDriver) {
			for i := range uint32(1<<16 + 1) {
				d.send(sessionv1.Kind_KIND_TEMPLATE, rawTemplate(i))
			}
		}},
		{"too many requests", "requests", func(d *rawDriver) {
			for i := range d.welcome.Requests + 2 { // the first is answered
				d.send(sessionv1.Kind_KIND_GROUP, &sessionv1.Group{Request: uint64(i + 1), Group: group(d, i),
					Bundles: []*sessionv1.Bundle{{Resources: map[string]int64{"CPU": 10_000}}}})
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := dialRaw(t, socket)
			tt.do(d)
			if err := d.goodbye(); err == nil || !strings.Contains(err.Error(), tt.reason) || err.Code == wire.Internal {
				t.Errorf("the session ended with %v, want %q", err, tt.reason)
			}
			if v, err := inc.Call(bystander, 1); v != 2 || err != nil {
				t.Error(v, err)
			}
		})
	}
}

// group is the id of the i-th group.
func group(d *rawDriver, i uint32) []byte {
	g := id.NewTask(d.node, id.Seq(d.session, uint64(i+1)))
	return g[:]
}

// Whatever a driver says, in whatever order, the node lives and its machines agree.
func FuzzDriver(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 2, 1, 3, 1, 8, 3, 7, 3, 9, 1})
	f.Add([]byte{0, 2, 1, 1, 1, 1, 4, 2, 5, 0, 6, 1, 10, 4, 11, 9, 12, 1, 13, 2, 14, 1})
	socket, n := startNode(f, node.Config{Resources: map[string]float64{"CPU": 1}, QueueBytes: 64 << 10})
	bystander := open(f, weft.Address(socket))
	f.Fuzz(func(t *testing.T, program []byte) {
		d := dialRaw(t, socket)
		for len(program) >= 2 && d.say(program[0], program[1]) {
			program = program[2:]
		}
		d.send(sessionv1.Kind_KIND_GOODBYE, &sessionv1.Goodbye{})
		_ = d.goodbye() // whatever it said, it has ended
		if v, err := inc.Call(bystander, 1); v != 2 || err != nil {
			t.Error(v, err)
		}
		if err := n.Check(); err != nil {
			t.Error(err)
		}
	})
}

// say sends one of the messages that a driver may, about the few ids that x names.
func (d *rawDriver) say(what, x byte) bool {
	seq := id.Seq(d.session, uint64(x%8))
	if x >= 200 {
		seq = id.Seq(d.session+id.Session(x%3), uint64(x))
	}
	task := id.NewTask(d.node, seq)
	object := task.Return(uint32(x % 2))
	counts := &sessionv1.Counts{Ids: object[:], N: []int32{int32(int8(x)) / 16}}
	one := &sessionv1.Counts{Ids: object[:]}
	objects := &sessionv1.Objects{Objects: object[:]}
	never := resource(x)
	switch what % 20 {
	case 0:
		m := rawTemplate(uint32(x % 4))
		m.Kind, m.Stream, m.Resources = uint32(x%3), x%4 == 3, never
		return d.send(sessionv1.Kind_KIND_TEMPLATE, m)
	case 1:
		return d.send(sessionv1.Kind_KIND_SUBMIT, &sessionv1.Submit{Template: uint32(x % 4), Seq: seq, Await: x%2 == 0,
			Args: []*sessionv1.Arg{{Object: object[:]}}, Actor: task[:]})
	case 2:
		return d.send(sessionv1.Kind_KIND_PUT, &sessionv1.Put{Seq: seq, Value: &sessionv1.Value{Data: []byte{x}, Refs: object[:]}})
	case 3:
		return d.send(sessionv1.Kind_KIND_HOLD, one)
	case 4:
		return d.send(sessionv1.Kind_KIND_DROP, one)
	case 5:
		return d.send(sessionv1.Kind_KIND_HOLD, counts)
	case 6:
		return d.send(sessionv1.Kind_KIND_DROP, counts)
	case 7:
		return d.send(sessionv1.Kind_KIND_GET, objects)
	case 8:
		return d.send(sessionv1.Kind_KIND_WATCH, objects)
	case 9:
		return d.send(sessionv1.Kind_KIND_UNWANT, objects)
	case 10:
		return d.send(sessionv1.Kind_KIND_UNPIN, one)
	case 11:
		return d.send(sessionv1.Kind_KIND_CANCEL, &sessionv1.Cancel{Task: task[:], Force: x%2 == 0, Recursive: x%3 == 0})
	case 12:
		return d.send(sessionv1.Kind_KIND_KILL, &sessionv1.Kill{Actor: task[:], NoRestart: x%2 == 0})
	case 13:
		return d.send(sessionv1.Kind_KIND_HANDLE, &sessionv1.Counts{Ids: task[:], N: counts.N})
	case 14:
		return d.send(sessionv1.Kind_KIND_CONSUME, &sessionv1.Consume{Task: task[:], N: uint32(x)})
	case 15:
		return d.send(sessionv1.Kind_KIND_DROP_STREAM, &sessionv1.TaskRef{Task: task[:]})
	case 16:
		return d.send(sessionv1.Kind_KIND_RESERVE, &sessionv1.Reserve{Request: uint64(x), Size: uint64(x) << 10})
	case 17:
		return d.send(sessionv1.Kind_KIND_SEAL, &sessionv1.Seal{Reservation: uint64(x), Seq: seq, Size: uint64(x)})
	case 18:
		return d.send(sessionv1.Kind_KIND_GROUP, &sessionv1.Group{Request: uint64(x), Group: task[:],
			Bundles: []*sessionv1.Bundle{{Resources: map[string]int64{"CPU": int64(x) * 100}}}})
	default:
		return d.send(sessionv1.Kind_KIND_UNGROUP, &sessionv1.Group{Group: task[:]})
	}
}

// resource keeps most tasks from running: no worker need be started for them.
func resource(x byte) map[string]int64 { return map[string]int64{"none": int64(x%2+1) * 10_000} }
