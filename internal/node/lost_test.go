package node

import (
	"errors"
	"testing"

	nodev1 "github.com/weftrun/weft/internal/gen/node/v1"
	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
)

// TestNoValueIsNotAnEmptyOne tells a node of values that nobody has: none of
// them may reach a task.
func TestNoValueIsNotAnEmptyOne(t *testing.T) {
	here, there := id.Node{0: 1, 7: 1}, id.Node{0: 2, 7: 1}
	o := id.NewTask(there, 1).Return(0)
	for name, r := range map[string]*nodev1.Return{
		"said to be here": {Object: o[:], Node: here[:], Value: &sessionv1.Value{Size: 200_000}},
		"lost here":       {Object: o[:], Node: here[:]},
		"lost there":      {Object: o[:], Node: there[:]},
		"inline, none":    {Object: o[:]},
		"inline, short":   {Object: o[:], Value: &sessionv1.Value{Size: 200_000}},
	} {
		t.Run(name, func(t *testing.T) {
			n := &Node{id: here, objects: map[id.Object]*object{}, away: map[id.Object]*away{}}
			if _, _, err := n.learn(r); err != nil {
				t.Fatal(err)
			}
			n.objects[o].ready = true
			if n.away[o] == nil {
				t.Error("nobody will look for it")
			}
			refuses(t, n, o)
			n.forgetPlaces(there)
			n.forgetPlaces(here)
			if !n.missing(o) {
				t.Error("it is not missing once its place is gone")
			}
			refuses(t, n, o)
		})
	}
}

// refuses checks that o is not sent to a worker as an argument.
func refuses(t *testing.T, n *Node, o id.Object) {
	t.Helper()
	var lost *lostError
	if v, err := (&conn{n: n}).objectValue(n.argumentOf(o)); !errors.As(err, &lost) || lost.object != o {
		t.Errorf("a worker is sent %v, %v", v, err)
	}
	if v, err := n.readObject(o, nil); err == nil {
		t.Errorf("a function of this process is given %v", v)
	}
}
