package main

import (
	"slices"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/id"
)

func TestReplayCommand(t *testing.T) {
	python := &sessionv1.FailedCall{Template: &sessionv1.Template{Language: "python"}, Python: "/py"}
	golang := &sessionv1.FailedCall{Template: &sessionv1.Template{}, Program: "/prog"}
	task := id.Task{1}
	for _, c := range []struct {
		flags replayFlags
		call  *sessionv1.FailedCall
		want  []string
	}{
		{replayFlags{}, golang, []string{"/prog"}},
		{replayFlags{with: "dlv exec", program: "other"}, golang, []string{"dlv", "exec", "other"}},
		{replayFlags{}, python, []string{"/py", "-m", "weft._replay", task.String()}},
		{replayFlags{pdb: true}, python, []string{"/py", "-m", "weft._replay", "--pdb", task.String()}},
		{replayFlags{}, &sessionv1.FailedCall{Template: &sessionv1.Template{}}, nil},
	} {
		if got, err := c.flags.command(c.call, task); !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%+v: %q, %v; want %q", c.flags, got, err, c.want)
		}
	}
}
