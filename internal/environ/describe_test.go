package environ

import (
	"errors"
	"slices"
	"testing"

	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

func parse(t *testing.T, text string) *Description {
	t.Helper()
	d, err := Parse(spec.NewRuntimeEnv(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestVariables(t *testing.T) {
	d := parse(t, `{"env_vars":{"A":"1","PATH":"/x:${PATH}","NONE":"<${NOWHERE}$NOWHERE$A>","PYTHONPATH":"/y"}}`)
	got := d.Variables([]string{"A=0", "B=b", "PATH=/bin", "PYTHONPATH=/weft"})
	if want := []string{"B=b", "A=1", "NONE=<$NOWHERE1>", "PATH=/x:/bin", "PYTHONPATH=/y:/weft"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	base := []string{"A=0"}
	if got := parse(t, "").Variables(base); !slices.Equal(got, base) {
		t.Errorf("with nothing asked for: %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	if _, err := Parse(spec.NewRuntimeEnv(`{"env_vars":["A"]}`)); !errors.Is(err, wire.SetupFailed) {
		t.Errorf("got %v", err)
	}
}
