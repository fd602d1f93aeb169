package main

import "path"

// goModule is the import path below which all generated packages lie; a
// schema's go_package option starts with it.
const goModule = "github.com/weftrun/weft/internal/gen"

// A plugin is one code generator: a tool of tools/go.mod and its parameter.
type plugin struct {
	tool  string
	param string
}

var (
	protobuf = plugin{"protoc-gen-go", ""}
	// vtproto's messages are encoded without reflection. unmarshal_unsafe lets
	// byte fields alias the frame they were read from; pool is for messages
	// marked `option (vtproto.mempool) = true`.
	vtproto = plugin{"protoc-gen-go-vtproto", "features=marshal+unmarshal+unmarshal_unsafe+size+pool"}
	connect = plugin{"protoc-gen-connect-go", ""}
	grpc    = plugin{"protoc-gen-go-grpc", ""}
)

// pluginsFor says which generators run over a schema, by its top folder: the
// hot protocols get fast codecs, the API its HTTP handlers, the peer protocol
// its gRPC stubs. Generators write nothing for a schema without services.
func pluginsFor(schema string) []plugin {
	switch topFolder(schema) {
	case "session":
		return []plugin{protobuf, vtproto}
	case "peer":
		return []plugin{protobuf, vtproto, grpc}
	case "api":
		return []plugin{protobuf, connect}
	default:
		return []plugin{protobuf, vtproto}
	}
}

func topFolder(schema string) string {
	for dir := path.Dir(schema); ; dir = path.Dir(dir) {
		if path.Dir(dir) == "." {
			return dir
		}
	}
}
