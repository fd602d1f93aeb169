package remote

import (
	"fmt"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/wire"
)

// Role is what a driver may do.
type Role string

// Roles, each with what those before it have.
const (
	Read   Role = "read"   // look at the cluster's state
	Submit Role = "submit" // run tasks and actors
	Admin  Role = "admin"  // everything
)

// permit returns an error if a driver of that role may not send such a frame.
func (r Role) permit(kind sessionv1.Kind, body []byte) error {
	switch r {
	case Submit, Admin:
		return nil
	case Read:
		switch kind {
		case sessionv1.Kind_KIND_HELLO, sessionv1.Kind_KIND_GOODBYE:
			return nil
		case sessionv1.Kind_KIND_QUERY:
			// What a failed task was called with is its job's.
			var m sessionv1.Query
			if err := m.UnmarshalVTUnsafe(body); err == nil && m.What != "replay" {
				return nil
			}
		}
	}
	return &wire.Error{Code: wire.Unauthenticated, Op: "session",
		Message: fmt.Sprintf("the token has the role %q, which may not send %s", string(r), kind),
		Hint:    "use a token of the role submit: `weft token create --role submit` at a head makes one"}
}
