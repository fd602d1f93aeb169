package weft_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/wefttest"
)

// TestReadme builds the program that README.md shows, as it stands there, and
// runs it alone and on a node.
func TestReadme(t *testing.T) {
	source, output := readmeProgram(t)
	dir := t.TempDir()
	file, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", program, file).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	runReadme(t, program, "", output)
	c := wefttest.Join(t, wefttest.Options{})
	runReadme(t, program, c.Address(), output)
}

func runReadme(t *testing.T, program, address, want string) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), weft.AddressEnv+"="+address)
	out, err := cmd.CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("at address %q it printed %q, want %q; %v", address, got, want, err)
	}
}

// readmeProgram is the block of Go in README.md, and what the text after it says
// that it prints.
func readmeProgram(t *testing.T) (source, output string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(text), "```go\n")
	source, rest, ended := strings.Cut(rest, "```\n")
	_, rest, says := strings.Cut(rest, "It prints `")
	output, _, said := strings.Cut(rest, "`")
	if !begun || !ended || !says || !said {
		t.Fatal("README.md has no program, or does not say what it prints")
	}
	return source, output
}
