package control

import (
	"net/url"
	"strings"

	"github.com/weftrun/weft/internal/id"
)

// Key joins parts to a key, such as "actors/names/default/counter". A slash in
// a part is escaped, so no part can reach into another's records.
func Key(parts ...string) string {
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = url.PathEscape(p)
	}
	return strings.Join(escaped, "/")
}

// Prefix is the prefix of all keys below parts.
func Prefix(parts ...string) string { return Key(parts...) + "/" }

// SplitKey returns the parts of a Key.
func SplitKey(key string) []string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		if plain, err := url.PathUnescape(p); err == nil {
			parts[i] = plain
		}
	}
	return parts
}

// Where things are. A name's record has the id of what is called so, so that
// taking a name and making the record is one Txn with Absent(name).

// ActorKey is an actor's record.
func ActorKey(a id.Actor) string { return Key("actors", "by-id", a.String()) }

// ActorNameKey is a named actor's name.
func ActorNameKey(namespace, name string) string { return Key("actors", "by-name", namespace, name) }

// JobKey is a job's record.
func JobKey(j id.Job) string { return Key("jobs", j.String()) }

// GroupKey is a placement group's record.
func GroupKey(g id.Group) string { return Key("groups", "by-id", g.String()) }

// GroupNameKey is a named placement group's name.
func GroupNameKey(namespace, name string) string { return Key("groups", "by-name", namespace, name) }

// NodeKey is a node's record.
func NodeKey(n id.Node) string { return Key("nodes", n.String()) }

// HeadKey is the record of a node that can be the coordinator's; it has the
// head's lease.
func HeadKey(n id.Node) string { return Key("heads", n.String()) }

// HeirKey says who owns what a node that left had owned.
func HeirKey(n id.Node) string { return Key("heirs", n.String()) }

// TokenKey is the record of a token that lets nodes in.
func TokenKey(name string) string { return Key("tokens", name) }

// UserKey is a record of a program's own.
func UserKey(namespace, key string) string { return Key("kv", namespace, key) }

// CoordinatorKey is the record of the coordinator: its leader is it.
const CoordinatorKey = "coordinator"
