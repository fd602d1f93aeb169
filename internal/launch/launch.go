package launch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// atOnce is how many machines are worked on at the same time.
const atOnce = 16

// Launcher brings up and takes down one cluster.
type Launcher struct {
	Config *Config
	Shell  Shell
	Binary string // this program's file
	// Tell is told what has been done on a machine. Calls do not overlap.
	Tell func(host, what string)

	mu sync.Mutex
}

// Access is how programs come in.
type Access struct {
	Address string `json:"address"` // weft://HOST:PORT
	Token   string `json:"token"`
}

func (l *Launcher) tell(m machine, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Tell(m.host, fmt.Sprintf(format, args...))
}

// Up starts the nodes that do not run. If some machines fail the others have
// their nodes all the same, and the error says which failed and why.
func (l *Launcher) Up(ctx context.Context) (*Access, error) {
	file, err := readBinary(l.Binary)
	if err != nil {
		return nil, err
	}
	all := l.Config.machines()
	head := all[0]
	if err := l.node(ctx, head, file, head); err != nil {
		return nil, failed(head, err)
	}
	err = each(all[1:], func(m machine) error { return l.node(ctx, m, file, head) })
	access, failure := l.token(ctx, head, file, "--role", "driver")
	if failure != nil {
		return nil, errors.Join(err, failed(head, failure))
	}
	return access, err
}

// Down ends all nodes, those of workers first, and removes their files.
func (l *Launcher) Down(ctx context.Context) error {
	all := l.Config.machines()
	return errors.Join(each(all[1:], func(m machine) error { return l.end(ctx, m) }), each(all[:1], func(m machine) error { return l.end(ctx, m) }))
}

// each does something on several machines and says on which it failed.
func each(machines []machine, do func(machine) error) error {
	errs := make([]error, len(machines))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, m := range machines {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = failed(m, do(m))
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func failed(m machine, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", m.host, err)
}

// binary is this program, as other machines keep it.
type binary struct {
	data []byte
	path string // on a machine, for its shell
}

func readBinary(path string) (binary, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return binary{}, fmt.Errorf("reading this program to copy it: %w", err)
	}
	sum := sha256.Sum256(data)
	return binary{data, `"$HOME/.weft/bin/weft-` + hex.EncodeToString(sum[:6]) + `"`}, nil
}

// folder is where a node's files are, for a machine's shell.
func (l *Launcher) folder() string { return `"$HOME/.weft/` + l.Config.Name + `"` }

// machineNames are those of `uname -m`.
var machineNames = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// node gives a machine its node, unless it has one.
func (l *Launcher) node(ctx context.Context, m machine, b binary, head machine) error {
	if err := l.copyBinary(ctx, m, b); err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	out, err := l.Shell.Run(ctx, m.host, "if "+b.path+" status --address "+l.folder()+" >/dev/null 2>&1; then echo runs; fi", nil)
	if err != nil {
		return err
	}
	if out != "" {
		l.tell(m, "its node runs already")
		return nil
	}
	for _, command := range m.setup {
		if _, err := l.Shell.Run(ctx, m.host, command, nil); err != nil {
			return fmt.Errorf("the setup command %q: %w", command, err)
		}
		l.tell(m, "did %s", command)
	}
	token := ""
	if !m.head {
		access, err := l.token(ctx, head, b)
		if err != nil {
			return fmt.Errorf("at the head %s: %w", head.host, err)
		}
		token = access.Token
	}
	return l.start(ctx, m, b, token)
}

// copyBinary puts the whole of it there, or nothing, unless it is there.
func (l *Launcher) copyBinary(ctx context.Context, m machine, b binary) error {
	out, err := l.Shell.Run(ctx, m.host, "uname -sm; if [ -x "+b.path+" ]; then echo there; fi", nil)
	if err != nil {
		return err
	}
	platform, there, _ := strings.Cut(out, "\n")
	if want := "Linux " + machineNames[runtime.GOARCH]; platform != want {
		return fmt.Errorf("it is for %s, that machine is %s: run weft up on one that is like it", want, platform)
	}
	if there != "" {
		return nil
	}
	script := `set -e; umask 077; mkdir -p "$HOME/.weft/bin"; t="$(mktemp "$HOME/.weft/bin/copy-XXXXXX")"; trap 'rm -f "$t"' EXIT; ` +
		`cat >"$t"; [ "$(wc -c <"$t")" -eq ` + strconv.Itoa(len(b.data)) + ` ]; chmod 700 "$t"; mv "$t" ` + b.path
	if _, err := l.Shell.Run(ctx, m.host, script, strings.NewReader(string(b.data))); err != nil {
		return err
	}
	l.tell(m, "copied weft, %d MB", len(b.data)/1e6)
	return nil
}

// start starts a machine's node. token lets it in; the head needs none.
func (l *Launcher) start(ctx context.Context, m machine, b binary, token string) error {
	command := []string{"exec", b.path, "start", "--detach", "--format", "json", "--dir", l.folder()}
	if m.head {
		command = append(command, "--head", "--listen", quote(l.Config.headAddress()))
	} else {
		command = append(command, "--address", quote(l.Config.headAddress()))
	}
	command = append(command, m.kind.flags()...)
	script := "IFS= read -r WEFT_TOKEN || :; export WEFT_TOKEN; "
	if m.kind.Python != "" {
		script += "export WEFT_PYTHON=" + quote(m.kind.Python) + "; "
	}
	out, err := l.Shell.Run(ctx, m.host, script+strings.Join(command, " "), strings.NewReader(token+"\n"))
	if err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	var ready struct {
		Node string `json:"node"`
	}
	if err := json.Unmarshal([]byte(out), &ready); err != nil {
		return fmt.Errorf("starting the node: it said %q: %w", out, err)
	}
	l.tell(m, "node %s is ready", ready.Node)
	return nil
}

// flags are those of `weft start`, for a shell.
func (k *Kind) flags() (flags []string) {
	if k.CPUs != 0 {
		flags = append(flags, "--cpus", fmt.Sprint(k.CPUs))
	}
	if k.Memory != "" {
		flags = append(flags, "--memory", quote(k.Memory))
	}
	if k.StoreBytes != "" {
		flags = append(flags, "--store-bytes", quote(k.StoreBytes))
	}
	for _, name := range slices.Sorted(maps.Keys(k.Resources)) {
		flags = append(flags, "--resources", quote(fmt.Sprintf("%s=%v", name, k.Resources[name])))
	}
	for _, key := range slices.Sorted(maps.Keys(k.Labels)) {
		flags = append(flags, "--labels", quote(key+"="+k.Labels[key]))
	}
	return flags
}

// token makes one at the head.
func (l *Launcher) token(ctx context.Context, head machine, b binary, flags ...string) (*Access, error) {
	command := append([]string{"exec", b.path, "token", "create", "--format", "json", "--address", l.folder()}, flags...)
	out, err := l.Shell.Run(ctx, head.host, strings.Join(command, " "), nil)
	if err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	a := &Access{}
	return a, json.Unmarshal([]byte(out), a)
}

// end ends a machine's node, if it has one, and removes its files.
func (l *Launcher) end(ctx context.Context, m machine) error {
	const gone = 3 // exit status: no node answers
	script := fmt.Sprintf(`set -e; if ! [ -e %[1]s ]; then exit; fi; `+
		`w="$(ls -t "$HOME"/.weft/bin/weft-* | head -n 1)"; `+
		`"$w" stop --force --address %[1]s >/dev/null || [ $? -eq %[2]d ]; `+
		`rm -rf %[1]s; echo ended`, l.folder(), gone)
	out, err := l.Shell.Run(ctx, m.host, script, nil)
	switch {
	case err != nil:
		return fmt.Errorf("ending the node: %w", err)
	case out != "":
		l.tell(m, "its node has ended")
	default:
		l.tell(m, "has no node of %s", l.Config.Name)
	}
	return nil
}
