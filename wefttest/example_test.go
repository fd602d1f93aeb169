package wefttest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

var (
	double = weft.Task1("wefttest.double", func(_ context.Context, x int) (int, error) { return 2 * x, nil })
	where  = weft.Task0("wefttest.where", func(context.Context) (int, error) { return os.Getpid(), nil })
	last   = weft.Task0("wefttest.last", func(ctx context.Context) (int, error) {
		if weft.Runtime(ctx).Attempt == 1 {
			return 0, syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return weft.Runtime(ctx).Attempt, nil
	}, weft.Isolated())
)

func TestMain(m *testing.M) { wefttest.Main(m) }

// test stands for a test's *testing.T, which examples do not have.
func test(body func(testing.TB)) {
	t := &exampleT{}
	body(t)
	for _, f := range t.cleanups {
		defer f()
	}
}

func ExampleStart() {
	// func TestDouble(t *testing.T)
	test(func(t testing.TB) {
		c := wefttest.Start(t)
		fmt.Println(double.Call(c.Context(), 21))
	})
	// Output: 42 <nil>
}

// With Join the tasks of the same test run in worker processes.
func ExampleJoin() {
	// func TestMain(m *testing.M) { wefttest.Main(m) }
	// func TestWhere(t *testing.T)
	test(func(t testing.TB) {
		c := wefttest.Join(t, wefttest.Options{StoreBytes: 64 << 20})
		pid, err := where.Call(c.Context())
		fmt.Println(pid != os.Getpid(), err)
	})
	// Output: true <nil>
}

// A task survives the death of its worker.
func ExampleCluster_KillWorker() {
	test(func(t testing.TB) {
		c := wefttest.Join(t, wefttest.Options{})
		first, err := where.Call(c.Context())
		fmt.Println(first == c.KillWorker(), err)
		second, err := where.Call(c.Context())
		fmt.Println(second == first, err)
		fmt.Println(last.Call(c.Context())) // kills its own process the first time
	})
	// Output:
	// true <nil>
	// false <nil>
	// 2 <nil>
}

// What a program sees when its node is gone.
func ExampleCluster_KillNode() {
	test(func(t testing.TB) {
		c := wefttest.Join(t, wefttest.Options{})
		c.KillNode()
		_, err := double.Call(c.Context(), 1)
		fmt.Println(errors.Is(err, weft.Closed))
	})
	// Output: true
}
