package remote

import (
	"errors"
	"strings"
	"testing"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// A role may send what it is for; the error names one that may.
func TestPermit(t *testing.T) {
	ask := func(what string) []byte {
		b, err := (&sessionv1.Query{What: what}).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, x := range []struct {
		role  token.Role
		kind  sessionv1.Kind
		body  []byte
		needs string
	}{
		{token.Reader, sessionv1.Kind_KIND_HELLO, nil, ""},
		{token.Reader, sessionv1.Kind_KIND_QUERY, ask("tasks"), ""},
		{token.Reader, sessionv1.Kind_KIND_SUBMIT, nil, "driver"},
		{token.Reader, sessionv1.Kind_KIND_CHUNK, nil, "driver"},
		{token.Reader, sessionv1.Kind_KIND_QUERY, ask("replay"), "admin"},
		{token.Driver, sessionv1.Kind_KIND_SUBMIT, nil, ""},
		{token.Driver, sessionv1.Kind_KIND_QUERY, ask("replay"), "admin"},
		{token.Driver, sessionv1.Kind_KIND_QUERY, []byte{0xff}, "admin"},
		{token.Admin, sessionv1.Kind_KIND_QUERY, ask("replay"), ""},
		{"", sessionv1.Kind_KIND_HELLO, nil, "driver"},
	} {
		err := permit(x.role, x.kind, x.body)
		if x.needs == "" && err != nil || x.needs != "" && (!errors.Is(err, wire.Unauthenticated) || !strings.Contains(err.Error(), "--role "+x.needs)) {
			t.Errorf("%s sends %s: %v", x.role, x.kind, err)
		}
	}
}
