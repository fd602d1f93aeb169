package client

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
)

// PythonEnv names the environment variable with the interpreter of Python
// workers, if no option does.
const PythonEnv = "WEFT_PYTHON"

// PythonPath is the interpreter that a program's Python workers run: the given
// one, that of the environment, or python3. One that is not to be found stays as
// it is, for the error to name.
func PythonPath(given string) string {
	name := cmp.Or(given, os.Getenv(PythonEnv), "python3")
	path, err := exec.LookPath(name)
	if err != nil {
		return name
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// PythonMetadata is what this program says to its Python workers: they work in
// its folder and import modules from there and from PYTHONPATH.
func PythonMetadata() map[string]string {
	dir, err := os.Getwd()
	if err != nil {
		return nil
	}
	modules := []string{dir}
	for _, p := range filepath.SplitList(os.Getenv("PYTHONPATH")) {
		if p, err := filepath.Abs(p); err == nil {
			modules = append(modules, p)
		}
	}
	path, err := json.Marshal(modules)
	if err != nil {
		return nil
	}
	return map[string]string{"cwd": dir, "sys_path": string(path)}
}
