package remote

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// Schemes of addresses; that of Ray is for its programs.
const (
	scheme    = "weft://"
	rayScheme = "ray://"
)

// defaultPort is that of `weft start --head`. rayPort is where Ray has a server
// for its clients, and Weft none unless it was told to listen there.
const (
	defaultPort = "6380"
	rayPort     = "10001"
)

// tokenHint says where tokens come from.
const tokenHint = "`weft token create --role driver` at a head makes one; put it into " + token.Env

// IsAddress reports whether s is for a Proxy and not a node's socket.
func IsAddress(s string) bool { return strings.HasPrefix(s, scheme) }

// ParseAddress reads weft://HOST:PORT, or the same of ray. The token is that
// before an @, that of the environment, or that of the user's own head on this
// machine.
func ParseAddress(s string, getenv func(string) string) (t Target, err error) {
	u, err := url.Parse(s)
	if err != nil || !IsAddress(s) && !strings.HasPrefix(s, rayScheme) || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return t, &wire.Error{Code: wire.Invalid, Op: "connect", Message: fmt.Sprintf("%q is no address of a cluster", redact(s)),
			Hint: "want weft://HOST:PORT of a node that was started with --head or joined a head"}
	}
	port := u.Port()
	if u.Scheme+"://" == rayScheme && (port == "" || port == rayPort) {
		port, t.otherwise = rayPort, net.JoinHostPort(u.Hostname(), defaultPort)
	}
	if port == "" {
		port = defaultPort
	}
	t.Address = net.JoinHostPort(u.Hostname(), port)
	return t, t.findToken(u.User.Username(), getenv)
}

// findToken completes t with a token, and what follows from it.
func (t *Target) findToken(given string, getenv func(string) string) error {
	op := "connect to " + t.Address
	t.Token, t.whose = given, "before the @ of the address"
	if t.Token == "" {
		t.Token, t.whose = getenv(token.Env), "of "+token.Env
	}
	if t.Token == "" {
		t.whose = "of this user's head on this machine, for want of another"
		var err error
		neighbours := token.Neighbours(token.RunDir(getenv))
		if t.Token, err = token.OfNeighbour(neighbours, t.Address); err != nil && t.otherwise != "" {
			t.Token, err = token.OfNeighbour(neighbours, t.otherwise)
		}
		if err != nil {
			return &wire.Error{Code: wire.Unauthenticated, Op: op, Message: "there is no token, and " + err.Error(), Hint: tokenHint}
		}
	}
	parsed, err := token.Parse(t.Token)
	if err != nil {
		return &wire.Error{Code: wire.Unauthenticated, Op: op, Message: "the token " + t.whose + ": " + err.Error(), Hint: tokenHint}
	}
	t.TLS = parsed.TLS(Protocol)
	return nil
}

// redact is an address without what may be a token.
func redact(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "…" + s[at:]
	}
	return s
}
