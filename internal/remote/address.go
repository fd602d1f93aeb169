package remote

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/weftrun/weft/internal/token"
	"github.com/weftrun/weft/internal/wire"
)

// TokenEnv names the environment variable with the token of drivers.
const TokenEnv = "WEFT_TOKEN"

const (
	scheme      = "weft://"
	defaultPort = "6380"
)

// IsAddress reports whether s is for a Proxy and not a node's socket.
func IsAddress(s string) bool { return strings.HasPrefix(s, scheme) }

// ParseAddress reads weft://HOST:PORT, with the token before an @ or given.
func ParseAddress(s, secret string) (t Target, err error) {
	u, err := url.Parse(s)
	if err != nil || !IsAddress(s) || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return t, &wire.Error{Code: wire.Invalid, Op: "connect", Message: fmt.Sprintf("%q is no address of a cluster", redact(s)), Hint: "want weft://HOST:PORT of a head"}
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	t.Address = net.JoinHostPort(u.Hostname(), port)
	if t.Token = u.User.Username(); t.Token == "" {
		t.Token = secret
	}
	if t.Token == "" {
		return t, &wire.Error{Code: wire.Unauthenticated, Op: "connect to " + t.Address, Message: "there is no token",
			Hint: "`weft token create --role submit` at a head makes one; put it into " + TokenEnv}
	}
	parsed, err := token.Parse(t.Token)
	if err != nil {
		return t, &wire.Error{Code: wire.Unauthenticated, Op: "connect to " + t.Address, Message: err.Error()}
	}
	t.TLS = parsed.TLS(Protocol)
	return t, nil
}

// redact is an address without what may be a token.
func redact(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return scheme + "…" + s[at:]
	}
	return s
}
