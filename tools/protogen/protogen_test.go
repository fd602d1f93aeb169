package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const schema = `syntax = "proto3";
package weft.session.v1;
import "github.com/planetscale/vtprotobuf/vtproto/ext.proto";
option go_package = "github.com/weftrun/weft/internal/gen/session/v1;sessionv1";
// Hello greets.
message Hello {
  option (vtproto.mempool) = true;
  bytes body = 1;
}
`

// A schema becomes Go code, what nobody wants goes, and a check finds drift.
func TestGenerateCheckAndRemove(t *testing.T) {
	protoDir, outDir, pythonDir := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(protoDir, "session/v1/session.proto"), schema)
	old := filepath.Join(outDir, "old/v1/old.pb.go")
	write(t, old, "package oldv1")

	if err := run(context.Background(), protoDir, outDir, pythonDir, true); err == nil {
		t.Error("check found nothing to generate")
	}
	if err := run(context.Background(), protoDir, outDir, pythonDir, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the code of a removed schema is still there: %v", err)
	}
	messages := read(t, filepath.Join(outDir, "session/v1/session.pb.go"))
	if !strings.Contains(messages, "// Hello greets.\ntype Hello struct") {
		t.Error("a comment is not passed on")
	}
	codec := filepath.Join(outDir, "session/v1/session_vtproto.pb.go")
	if !strings.Contains(read(t, codec), "HelloFromVTPool") {
		t.Error("there is no pool")
	}
	if err := run(context.Background(), protoDir, outDir, pythonDir, true); err != nil {
		t.Errorf("check right after generating: %v", err)
	}
	write(t, codec, "package sessionv1")
	if err := run(context.Background(), protoDir, outDir, pythonDir, true); err == nil || !strings.Contains(err.Error(), "session_vtproto.pb.go") {
		t.Errorf("check of an edited file: %v", err)
	}
}

func TestBrokenSchema(t *testing.T) {
	protoDir := t.TempDir()
	write(t, filepath.Join(protoDir, "session/v1/session.proto"), "syntax = \"proto3\";\nmessage {")
	err := run(context.Background(), protoDir, t.TempDir(), t.TempDir(), false)
	if err == nil || !strings.Contains(err.Error(), "session.proto:2:") {
		t.Errorf("error %v, want one that names file and line", err)
	}
}

func TestNoSchemas(t *testing.T) {
	if err := run(context.Background(), filepath.Join(t.TempDir(), "none"), t.TempDir(), t.TempDir(), true); err != nil {
		t.Error(err)
	}
}

func TestPluginsByTopFolder(t *testing.T) {
	for schema, want := range map[string][]plugin{
		"session/v1/session.proto": {protobuf, vtproto},
		"api/v1/api.proto":         {protobuf, connect},
		"peer/v1/peer.proto":       {protobuf, vtproto, grpc},
	} {
		if got := pluginsFor(schema); !slices.Equal(got, want) {
			t.Errorf("plugins for %s: %v, want %v", schema, got, want)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
