package lint

import (
	"os/exec"
	"strings"
	"testing"
)

// A program that embeds Weft links neither etcd nor gRPC: they are a cluster's,
// and cmd/weft has them.
func TestEmbeddedProgramsStaySmall(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", Module)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for path := range strings.Lines(string(out)) {
		for _, heavy := range []string{"go.etcd.io/", "google.golang.org/grpc", "go.uber.org/zap"} {
			if strings.HasPrefix(path, heavy) {
				t.Errorf("the root package depends on %s", strings.TrimSpace(path))
			}
		}
	}
}
