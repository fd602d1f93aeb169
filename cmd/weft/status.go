package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/resource"
	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
)

// version is set by the linker: -X main.version=v1.2.3
var version = ""

// buildVersion names this build: the release, or the commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if p.json() {
				return p.printJSON(map[string]string{"version": buildVersion(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			p.say("weft %s (%s, %s/%s)", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what a node has and does",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withClient(func(client *api.Client) error {
				s, err := client.Status(c.Context())
				if err != nil {
					return err
				}
				if p.json() {
					return p.printJSON(s)
				}
				p.showStatus(&s)
				return nil
			})
		},
	}
}

func (p *program) showStatus(s *state.Status) {
	n := &s.Node
	p.say("node %s  %s for %s  version %s, process %d", n.ID, n.State, state.Span(s.Now.Sub(n.Started)), cmp.Or(n.Version, "?"), n.PID)
	line := func(what, format string, args ...any) {
		p.say("  %-10s %s", what, state.Printable(fmt.Sprintf(format, args...)))
	}
	if n.Address != "" {
		line("address", "%s", n.Address)
	}
	for _, name := range slices.Sorted(maps.Keys(n.Total)) {
		if resource.Implied(name) {
			continue
		}
		line(name, "%s of %s free", state.Amount(name, n.Free[name]), state.Amount(name, n.Total[name]))
	}
	if len(n.Labels) > 0 {
		line("labels", "%s", joined(n.Labels, "%s=%s"))
	}
	line("used", "%s of %s that the node may use", state.Bytes(n.Memory.Used), state.Bytes(n.Memory.Limit))
	line("store", "%s of %s, %d objects, %s pinned, %s spilled", state.Bytes(n.Store.Used), state.Bytes(n.Store.Limit),
		n.Store.Objects, state.Bytes(n.Store.Pinned), state.Bytes(n.Store.Spilled))
	line("workers", "%d processes", n.Workers)
	line("jobs", "%d running", s.Jobs)
	line("tasks", "%s; since the start %d done, %d failed, %d retried", cmp.Or(joined(s.Tasks, "%[2]d %[1]s"), "none"), s.Done, s.Failed, s.Retried)
	line("actors", "%s", cmp.Or(joined(s.Actors, "%[2]d %[1]s"), "none"))
	if s.Lost > 0 {
		line("lost", "%d objects", s.Lost)
	}
	if n.Pressure != "" {
		line("pressure", "%s", n.Pressure)
	}
}

// joined prints a map's entries in the order of its keys.
func joined[V any](m map[string]V, format string) string {
	parts := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf(format, key, m[key]))
	}
	return strings.Join(parts, ", ")
}
