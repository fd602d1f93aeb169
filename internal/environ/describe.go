package environ

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/weftrun/weft/internal/spec"
	"github.com/weftrun/weft/internal/wire"
)

// Description is a runtime environment as a driver describes it.
type Description struct {
	EnvVars    map[string]string `json:"env_vars"`
	WorkingDir string            `json:"working_dir"` // URIs
	PyModules  []string          `json:"py_modules"`
	Pip        json.RawMessage   `json:"pip"`
	Uv         json.RawMessage   `json:"uv"`
	Executable string            `json:"py_executable"`
	Config     struct {
		Timeout float64 `json:"setup_timeout_seconds"` // 0 is DefaultTimeout, negative none
	} `json:"config"`
}

// plain reports whether d has variables alone.
func (d *Description) plain() bool {
	return d.WorkingDir == "" && len(d.PyModules) == 0 && d.Pip == nil && d.Uv == nil && d.Executable == ""
}

// installers are the tools that d has packages for, of which a driver gives one.
func (d *Description) installers() map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for tool, options := range map[string]json.RawMessage{"pip": d.Pip, "uv": d.Uv} {
		if options != nil {
			all[tool] = options
		}
	}
	return all
}

// Parse reads what a task says that it needs.
func Parse(e spec.RuntimeEnv) (*Description, error) {
	d := new(Description)
	if e.IsZero() {
		return d, nil
	}
	if err := json.Unmarshal([]byte(e.String()), d); err != nil {
		return nil, &wire.Error{Code: wire.SetupFailed, Op: "runtime environment", Message: fmt.Sprintf("not as it should be: %v", err),
			Hint: "weft.runtime_env.RuntimeEnv writes it", Err: err}
	}
	return d, nil
}

// Variables returns base, a list of NAME=value, with the description's over it.
// $NAME and ${NAME} in a value stand for what base says, or an earlier one by
// name. If that is nothing, ${NAME} is empty and $NAME stays.
func (d *Description) Variables(base []string) []string {
	if len(d.EnvVars) == 0 {
		return base
	}
	known := map[string]string{}
	for _, v := range base {
		name, value, _ := strings.Cut(v, "=")
		known[name] = value
	}
	out := slices.DeleteFunc(slices.Clone(base), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		_, given := d.EnvVars[name]
		return given
	})
	for _, name := range slices.Sorted(maps.Keys(d.EnvVars)) {
		value := expand(d.EnvVars[name], known)
		if name == pythonPath && known[name] != "" {
			value += string(os.PathListSeparator) + known[name] // where the workers' own package is found
		}
		known[name] = value
		out = append(out, name+"="+value)
	}
	return out
}

// expand replaces the names in value.
func expand(value string, known map[string]string) string {
	return reference.ReplaceAllStringFunc(value, func(r string) string {
		if name, braced := strings.CutPrefix(r, "${"); braced {
			return known[name[:len(name)-1]]
		}
		if v, ok := known[r[1:]]; ok {
			return v
		}
		return r
	})
}

var reference = regexp.MustCompile(`\$\w+|\$\{\w+\}`)

const pythonPath = "PYTHONPATH"
