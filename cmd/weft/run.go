package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// pythonVariable names the interpreter of `weft run`.
const pythonVariable = "WEFT_PYTHON"

func (p *program) runCommand() *cobra.Command {
	var asRay bool
	c := &cobra.Command{
		Use:   "run [--ray] PROGRAM.py [ARGUMENT…]",
		Short: "Run a Python program",
		Long: "Run replaces itself by Python, which runs the program. With --ray the program's `import ray` is Weft,\n" +
			"in its workers too. The interpreter is that of $" + pythonVariable + ", of .venv in this folder, or python3; it must\n" +
			"have the package weft (`pip install ./python`, or `make python` for such a .venv).",
		Example: "  weft run program.py\n  weft run --ray program-of-ray.py --its-own flags",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return runPython(asRay, args)
		},
	}
	c.Flags().BoolVar(&asRay, "ray", false, "let `import ray` find Weft")
	c.Flags().SetInterspersed(false) // what follows the program is its own
	return c
}

// runPython becomes the interpreter; it returns only if that fails.
func runPython(asRay bool, args []string) error {
	if _, err := os.Stat(args[0]); err != nil {
		return usagef("there is no program %s", args[0])
	}
	python, err := findPython()
	if err != nil {
		return err
	}
	line := []string{python, "-m", "weft._run"}
	if asRay {
		line = append(line, "--ray")
	}
	env := os.Environ()
	if self, err := os.Executable(); err == nil && os.Getenv("WEFT_BINARY") == "" {
		env = append(env, "WEFT_BINARY="+self)
	}
	err = syscall.Exec(python, append(line, args...), env)
	return fmt.Errorf("%s cannot be started: %w", python, err)
}

// driversPython is the interpreter for drivers from outside, "" if there is none.
func driversPython() string {
	path, err := findPython()
	if err != nil {
		return ""
	}
	return path
}

// findPython returns the interpreter's path.
func findPython() (string, error) {
	own := filepath.Join(".venv", "bin", "python")
	if _, err := os.Stat(own); err != nil {
		own = ""
	}
	name := cmp.Or(os.Getenv(pythonVariable), own, "python3")
	path, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", fmt.Errorf("no Python: %w; set %s to an interpreter that has the package weft", err, pythonVariable)
	}
	return filepath.Abs(path)
}
