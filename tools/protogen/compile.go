package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	_ "github.com/planetscale/vtprotobuf/vtproto" // registers vtproto's options for import
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// findSchemas lists the .proto files under dir, relative to it and sorted.
func findSchemas(dir string) ([]string, error) {
	var schemas []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".proto" {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		schemas = append(schemas, filepath.ToSlash(rel))
		return err
	})
	if os.IsNotExist(err) {
		return nil, nil
	}
	slices.Sort(schemas)
	return schemas, err
}

// generate compiles the schemas and returns the generated files' content by
// their path below the output folder of each language.
func generate(ctx context.Context, protoDir string, schemas []string) (goFiles, pythonFiles map[string][]byte, err error) {
	compiler := protocompile.Compiler{
		SourceInfoMode: protocompile.SourceInfoStandard, // comments become doc comments
		Resolver: protocompile.CompositeResolver{
			protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{protoDir}}),
			protocompile.ResolverFunc(findRegistered),
		},
	}
	compiled, err := compiler.Compile(ctx, schemas...)
	if err != nil {
		return nil, nil, fmt.Errorf("compiling the schemas in %s: %w", protoDir, err)
	}
	out := map[string][]byte{}
	for _, file := range compiled {
		for _, p := range pluginsFor(file.Path()) {
			if err := runPlugin(ctx, p, file, out); err != nil {
				return nil, nil, fmt.Errorf("%s on %s: %w", p.tool, file.Path(), err)
			}
		}
	}
	python, err := pythonModules(compiled)
	return out, python, err
}

// findRegistered resolves imports of schemas whose Go code is linked into
// this command.
func findRegistered(name string) (protocompile.SearchResult, error) {
	desc, err := protoregistry.GlobalFiles.FindFileByPath(name)
	return protocompile.SearchResult{Desc: desc}, err
}

// runPlugin runs one generator over one schema and adds its files to out.
func runPlugin(ctx context.Context, p plugin, file protoreflect.FileDescriptor, out map[string][]byte) error {
	param := "module=" + goModule
	if p.param != "" {
		param += "," + p.param
	}
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{file.Path()},
		Parameter:      &param,
		ProtoFile:      withImports(file, map[string]bool{}),
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", p.tool)
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stderr = os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(answer, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, f := range response.File {
		out[f.GetName()] = forgetBytes(file, []byte(f.GetContent()))
	}
	return nil
}

// withImports returns the file's descriptor after those of all it imports, as
// generators want them.
func withImports(file protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[file.Path()] {
		return nil
	}
	seen[file.Path()] = true
	var protos []*descriptorpb.FileDescriptorProto
	imports := file.Imports()
	for i := range imports.Len() {
		protos = append(protos, withImports(imports.Get(i).FileDescriptor, seen)...)
	}
	return append(protos, protoutil.ProtoFromFileDescriptor(file))
}
