package weft_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/leak"
	"github.com/weftrun/weft/internal/node"
	"github.com/weftrun/weft/wefttest"
)

// programEnv makes this test binary another program: a driver, or a node.
const programEnv = "WEFT_TEST_PROGRAM"

var programs = map[string]func(dir, address string) int{"driver": drive, "node": serve, unready: driveUnready, "replayed": replayed}

// unready is the driver whose workers never become workers.
const unready = "unready"

// program runs as one of the programs, with the arguments of startProgram.
func program(name string) int {
	_ = os.Unsetenv(programEnv)
	return programs[name](os.Args[1], os.Args[2])
}

// startProgram starts one of the programs and returns once it says that it has
// started.
func startProgram(t *testing.T, name, dir, address string) *exec.Cmd {
	t.Helper()
	cmd, _ := runProgram(t, name, dir, address)
	return cmd
}

// runProgram is startProgram that returns what the program says besides.
func runProgram(t *testing.T, name, dir, address string) (_ *exec.Cmd, says string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", dir, address)
	cmd.Args[0] = name // also its workers'
	cmd.Env = append(os.Environ(), programEnv+"="+name)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if !strings.HasPrefix(line, "started") {
		t.Fatalf("the %s said %q", name, line)
	}
	return cmd, line
}

// killProgram ends a program without a chance to tidy up.
func killProgram(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
}

// drive is a driver: it starts things, says so, and stays.
func drive(dir, address string) int {
	s, err := weft.Init(context.Background(), weft.Address(address), weft.InNamespace("driver"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := s.Context(context.Background())
	m := meeting{dir + "/arrived", dir + "/leave"}
	running := meet.Remote(ctx, m)
	lonely := meet.Remote(ctx, m, weft.Isolated())
	a := tallies.New(ctx, 1, weft.Named("driver's"), weft.Resource("slot", 1))
	if _, err := tallyAdd.Call(ctx, a, 1); err != nil {
		fmt.Println(err)
		return 1
	}
	big, err := weft.Put(ctx, make([]byte, 8<<20))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	view, err := weft.View(ctx, big)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	_, err = weft.GetAll(ctx, []weft.Ref[int]{running, lonely})
	fmt.Println(err)
	runtime.KeepAlive(a)
	runtime.KeepAlive(view)
	return 1
}

// What a driver has goes with it, also when it is killed.
func TestDriverIsKilled(t *testing.T) {
	c := wefttest.Join(t, wefttest.Options{Resources: map[string]float64{"CPU": 3, "slot": 1}, StoreBytes: 16 << 20, SpillBytes: 1})
	ctx := c.Context()
	dir := t.TempDir()
	driver := startProgram(t, "driver", dir, c.Address())
	c.Eventually("its tasks", func() bool { return signal(dir+"/arrived").count() == 2 })
	theirs := must[weft.Actor[tally]](t)(weft.LookupIn(ctx, tallies, "driver", "driver's"))
	equal(t, 3)(tallyAdd.Call(ctx, theirs, 1))
	killProgram(t, driver)
	_, err := tallyAdd.Call(ctx, theirs, 1)
	isCode(t, err, weft.ActorDied, "job ended")
	c.Eventually("its workers' ends", func() bool { return len(c.Workers()) == 0 })
	// All it had can be had by others: CPUs, the slot and the store.
	equal(t, 49)(square.Call(ctx, 7, weft.CPU(3), weft.Resource("slot", 1)))
	must[weft.Ref[[]byte]](t)(weft.Put(ctx, make([]byte, 12<<20)))
}

// serve is a node: it says that it has started, and stays.
func serve(dir, address string) int {
	n, err := node.New(node.Config{Dir: dir, Socket: address, Resources: small.Resources})
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	select {}
}

// attendAs is attend in a process whose number it says.
var attendAs = weft.Task2("test.attendAs", func(ctx context.Context, m meeting, pid string) (int, error) {
	if err := os.WriteFile(pid, fmt.Append(nil, os.Getpid()), 0o600); err != nil {
		return 0, err
	}
	return attend(ctx, m)
})

// A node that is killed takes its workers with it, and its drivers are told.
func TestNodeIsKilled(t *testing.T) {
	leak.Check(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	address := dir + "/sock"
	node := startProgram(t, "node", dir, address)
	s := must[*weft.Session](t)(weft.Init(ctx, weft.Address(address)))
	ctx = s.Context(ctx)
	m, arrived, _ := newMeeting(t)
	pids := []string{dir + "/shared", dir + "/isolated"}
	running := []weft.Ref[int]{attendAs.Remote(ctx, m, pids[0]), attendAs.Remote(ctx, m, pids[1], weft.Isolated())}
	view := must[*weft.Bytes](t)(weft.View(ctx, must[weft.Ref[[]byte]](t)(weft.Put(ctx, noise(4, 1<<20)))))
	for arrived.count() < len(running) {
		if err := arrived.wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	killProgram(t, node)
	for _, ref := range running {
		_, err := ref.Get(ctx)
		isCode(t, err, weft.Closed)
	}
	if !bytes.Equal(view.Data(), noise(4, 1<<20)) {
		t.Error("a view that was there shows something else")
	}
	view.Release()
	for _, file := range pids {
		pid := 0
		if _, err := fmt.Sscan(must[string](t)(readLines(file)), &pid); err != nil {
			t.Fatal(err)
		}
		for alive(pid) {
			runtime.Gosched()
		}
	}
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// alive reports whether a process runs; it may have to be waited for yet.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// driveUnready is a driver whose workers end before Init: it says what its tasks
// and actors fail with.
func driveUnready(_, address string) int {
	ctx := context.Background()
	if _, err := weft.Init(ctx, weft.Address(address)); err != nil {
		fmt.Println(err)
		return 1
	}
	_, err := answer.Call(ctx)
	ready := tallies.New(ctx, 1).Ready(ctx)
	fmt.Printf("started %t %t %q %q\n", errors.Is(err, weft.SetupFailed), errors.Is(ready, weft.SetupFailed), err, ready)
	select {}
}

// A program that does not reach Init as a worker cannot run tasks; the error
// quotes what it said.
func TestWorkersCannotBeStarted(t *testing.T) {
	c := wefttest.Join(t, small)
	driver, says := runProgram(t, unready, t.TempDir(), c.Address())
	killProgram(t, driver)
	for _, part := range []string{"started true true", "no worker process could be started", "exit status 3", "a main that has other plans", "first in"} {
		if !strings.Contains(says, part) {
			t.Errorf("the driver's errors %s\ndo not say %q", says, part)
		}
	}
	equal(t, 42)(answer.Call(c.Context()))
}
