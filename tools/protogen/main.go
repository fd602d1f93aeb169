// Protogen compiles the .proto files under proto/ and writes the Go code for
// them under internal/gen, needing nothing but Go: the schema compiler is a
// library and the code generators are the tools pinned in tools/go.mod.
//
// Which generators run over which folder is the table in plan.go. The whole
// output tree is replaced, so code of a removed schema goes too. With -check
// nothing is written; the command fails if what is on disk differs from what
// it would write.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	protoDir := flag.String("proto", "../proto", "folder with the schemas")
	outDir := flag.String("out", "../internal/gen", "folder for the generated Go code, replaced as a whole")
	pythonDir := flag.String("python", "../python/src/weft/_pb", "folder for the generated Python code, replaced as a whole")
	check := flag.Bool("check", false, "write nothing; fail if the generated code on disk is out of date")
	flag.Parse()
	if err := run(context.Background(), *protoDir, *outDir, *pythonDir, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, protoDir, outDir, pythonDir string, check bool) error {
	schemas, err := findSchemas(protoDir)
	if err != nil {
		return err
	}
	if len(schemas) == 0 {
		return nil // nothing to generate yet
	}
	files, python, err := generate(ctx, protoDir, schemas)
	if err != nil {
		return err
	}
	if !check {
		return errors.Join(writeTree(outDir, files), writeTree(pythonDir, python))
	}
	stale, err := diffTree(outDir, files)
	stalePython, pythonErr := diffTree(pythonDir, python)
	if err := errors.Join(err, pythonErr); err != nil {
		return err
	}
	stale = append(stale, stalePython...)
	if len(stale) > 0 {
		return errors.New("generated code is out of date, run `make generate` and commit the result: " + fmt.Sprint(stale))
	}
	return nil
}
