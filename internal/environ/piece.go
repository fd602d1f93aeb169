package environ

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/weftrun/weft/internal/wire"
)

// Build is what makes a piece, as weft._build reads it.
type Build struct {
	Kind    string          `json:"kind"`
	Target  string          `json:"target"`            // a folder that it makes
	Source  string          `json:"source,omitempty"`  // path or URL of an archive or wheel
	Strip   bool            `json:"strip,omitempty"`   // the one folder at the archive's top
	Limit   int64           `json:"limit,omitempty"`   // bytes that the piece may have
	Tool    string          `json:"tool,omitempty"`    // which installs packages
	Options json.RawMessage `json:"options,omitempty"` // of the tool

	Python    string   `json:"-"` // the interpreter that builds
	Variables []string `json:"-"` // of its environment
	name      string   // for people
	key       string   // equal pieces have equal ones
}

// Kinds of Build.
const (
	unpack   = "unpack"
	wheel    = "wheel"
	packages = "packages"
)

// uploaded begins the URIs of packages that a driver has sent: the hash of the
// list of its parts' hashes, a slash, and its file's name.
const uploaded = "weft://"

// archive is the build of what lies at a URI.
func (o *Origin) archive(uri string) Build {
	b := Build{Kind: unpack, Source: uri, Strip: !strings.HasPrefix(uri, uploaded), name: uri}
	if strings.HasSuffix(uri, ".whl") {
		b.Kind, b.Strip = wheel, false
	}
	b.key = keyOf(b.Kind, uri, cmp.Or(o.pythonOf(b.Kind), "-"))
	return b
}

// pythonOf is the interpreter if what the kind makes depends on it.
func (o *Origin) pythonOf(kind string) string {
	if kind == unpack {
		return ""
	}
	return o.Python
}

// installer is the build of a virtual environment. Only packages that name the
// working directory depend on it.
func (o *Origin) installer(tool string, options json.RawMessage, workingDir string) Build {
	b := Build{Kind: packages, Tool: tool, Options: options, name: fmt.Sprintf("%s %s", tool, packageNames(options))}
	if !strings.Contains(string(options), workingDirVariable) {
		workingDir = ""
	}
	b.key = keyOf(b.Kind, tool, string(options), workingDir, o.Python)
	return b
}

// workingDirVariable is what requirements may call the working directory.
const workingDirVariable = "RAY_RUNTIME_ENV_CREATE_WORKING_DIR"

func packageNames(options json.RawMessage) string {
	var o struct {
		Packages []string `json:"packages"`
	}
	_ = json.Unmarshal(options, &o) // the builder says what is wrong with it
	return strings.Join(o.Packages, ", ")
}

func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// fetch returns an uploaded package and its file's name.
func (o *Origin) fetch(ctx context.Context, uri string) (data []byte, name string, err error) {
	digest, name, _ := strings.Cut(strings.TrimPrefix(uri, uploaded), "/")
	whole, err := hex.DecodeString(digest)
	if err != nil || name != path.Base(name) || name == ".." || name == "." {
		return nil, "", &wire.Error{Code: wire.Invalid, Message: "not the name of an uploaded package"}
	}
	parts, err := o.Blob(ctx, whole)
	for part := range slices.Chunk(parts, sha256.Size) {
		var blob []byte
		if err == nil {
			blob, err = o.Blob(ctx, part)
		}
		data = append(data, blob...)
	}
	return data, name, err
}
