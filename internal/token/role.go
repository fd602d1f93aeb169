package token

import "fmt"

// Role is what a driver from outside may do that has a token.
type Role string

// Roles, each with what those before it have.
const (
	Reader Role = "reader" // look at the cluster's state
	Driver Role = "driver" // run tasks and actors
	Admin  Role = "admin"  // read what any failed task was called with
)

// ParseRole reads a Role.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Reader, Driver, Admin:
		return r, nil
	}
	return "", fmt.Errorf("%q is no role: want %s, %s or %s", s, Reader, Driver, Admin)
}
