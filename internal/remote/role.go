package remote

import (
	"fmt"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// permit returns an error if a driver of that role may not send such a frame.
func permit(r token.Role, kind sessionv1.Kind, body []byte) error {
	// What a failed task was called with may be another driver's.
	replay := false
	if kind == sessionv1.Kind_KIND_QUERY {
		var m sessionv1.Query
		replay = m.UnmarshalVTUnsafe(body) != nil || m.What == "replay"
	}
	needs := token.Driver
	switch r {
	case token.Admin:
		return nil
	case token.Driver:
		if !replay {
			return nil
		}
		needs = token.Admin
	case token.Reader:
		switch kind {
		case sessionv1.Kind_KIND_HELLO, sessionv1.Kind_KIND_GOODBYE:
			return nil
		case sessionv1.Kind_KIND_QUERY:
			if !replay {
				return nil
			}
			needs = token.Admin
		}
	}
	return &wire.Error{Code: wire.Unauthenticated, Op: "session",
		Message: fmt.Sprintf("the token has the role %q, which may not send %s", string(r), kind),
		Hint:    fmt.Sprintf("`weft token create --role %s` at a head makes one that may", needs)}
}
