package node_test

import (
	"context"
	"errors"
	"hash/crc32"
	"strings"
	"sync"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/id"
)

var digest = weft.Task1("node_test.digest", func(_ context.Context, b []byte) (uint32, error) { return crc32.ChecksumIEEE(b), nil })

// broadcast has every node but the first read one object of the first's, and
// returns how often each was read from.
func broadcast(t *testing.T, refuse func(from id.Node, name string) error) map[id.Node]int {
	t.Helper()
	cpus := []float64{1, 1, 1, 1, 1, 1, 1, 1, 1}
	f, sockets, nodes := fabricOf(t, cpus...)
	var mu sync.Mutex
	reads := map[id.Node]int{}
	f.pull = func(from id.Node, name string) error {
		kind, _, _ := strings.Cut(name, "/")
		if kind != "object" && kind != "relay" {
			return nil
		}
		if err := refuse(from, name); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		reads[from]++
		return nil
	}
	ctx := open(t, weft.Address(sockets[0]))
	data := make([]byte, 9<<20)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	ref, err := weft.Put(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	var sums []weft.Ref[uint32]
	for _, n := range nodes[1:] {
		sums = append(sums, digest.RemoteOf(ctx, ref, weft.OnNode(n.ID().String(), false)))
	}
	for i, r := range sums {
		if got, err := r.Get(ctx); err != nil || got != crc32.ChecksumIEEE(data) {
			t.Error(i+1, got, err)
		}
	}
	for _, n := range nodes {
		if err := n.Check(); err != nil {
			t.Error(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return reads
}

// An object that eight nodes want at once is read from its source by two; these
// pass it on, and so do those that have it from them.
func TestBroadcast(t *testing.T) {
	reads := broadcast(t, func(id.Node, string) error { return nil })
	all := 0
	for n, times := range reads {
		if all += times; times > 2 {
			t.Error(n, times)
		}
	}
	if all != 8 {
		t.Error(reads)
	}
}

// A node that cannot pass an object on costs those who were told to read from it
// nothing: they turn to the source.
func TestBroadcastWithoutRelays(t *testing.T) {
	reads := broadcast(t, func(_ id.Node, name string) error {
		if strings.HasPrefix(name, "relay/") {
			return errors.New("it is not being copied here")
		}
		return nil
	})
	if len(reads) != 1 {
		t.Error(reads)
	}
}
