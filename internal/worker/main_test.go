package worker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// roleEnv says what the test binary does as a worker.
const roleEnv = "WEFT_WORKER_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(wire.WorkerEnv) == "" {
		goleak.VerifyTestMain(m)
	}
	act(os.Getenv(roleEnv))
}

// act plays a worker of some character.
func act(role string) {
	var call, side int
	if n, err := fmt.Sscanf(os.Getenv(wire.WorkerEnv), "%d,%d", &call, &side); n != 2 {
		fmt.Fprintln(os.Stderr, "no lanes:", err)
		os.Exit(9)
	}
	switch role {
	case "echo": // answers on both lanes, ends with the call lane
		go echo(side)
		echo(call)
	case "hang":
		<-time.After(time.Hour)
	case "exit":
		fmt.Println("main reached")
		fmt.Fprint(os.Stderr, "a last line without end")
		os.Exit(3)
	case "panic":
		panic("out of cheese")
	case "fault":
		nowhere := map[string]*int{}["gone"]
		fmt.Println(*nowhere)
	case "print":
		for i := range 2000 {
			fmt.Println("out", i)
			fmt.Fprintln(os.Stderr, "err", i)
		}
		fmt.Println(strings.Repeat("x", 3*maxLine))
	case "child": // leaves a process of its group behind
		sleeper := exec.Command("sleep", "3600")
		sleeper.Stdout, sleeper.Stderr = os.Stdout, os.Stderr
		if err := sleeper.Start(); err != nil {
			os.Exit(8)
		}
		fmt.Println(sleeper.Process.Pid)
		echo(call)
	case "describe":
		describe()
	case "zygote":
		actZygote(call, 1000, false)
	case "refuses":
		actZygote(call, 0, true)
	case "mute":
		actZygote(call, 0, false)
	case "forked":
		fmt.Println("forked")
		send(3, sessionv1.Kind_KIND_FORKED, &sessionv1.Forked{Pid: uint32(os.Getpid())})
		_ = unix.Close(3)
		echo(call)
	}
	os.Exit(0)
}

func echo(fd int) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			return
		}
		_, _ = unix.Write(fd, buf[:n])
	}
}

// describe prints what the process finds itself to be.
func describe() {
	group, _ := unix.Getpgid(0)
	nice, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	stdin, _ := os.Readlink("/proc/self/fd/0")
	dir, _ := os.Getwd()
	fmt.Println("leader", group == os.Getpid())
	fmt.Println("nice", 20-nice) // the system call's convention
	fmt.Println("score", strings.TrimSpace(string(score)))
	fmt.Println("stdin", stdin)
	fmt.Println("dir", dir)
	fmt.Println("args", os.Args)
	fmt.Println("files", inherited())
}

// inherited lists the open descriptors that came through exec.
func inherited() (fds []int) {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		n, err := strconv.Atoi(filepath.Base(l))
		if err != nil {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, n)
		}
	}
	slices.Sort(fds)
	return fds
}
