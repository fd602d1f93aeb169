// Package etcd keeps metadata in etcd: the adapter for a cluster. It passes
// control/controltest.
//
// The nouns: a [Member] is an etcd server inside this process, one of one or
// three, that a head runs; a [Store] is a client, of the member in this
// process ([Member.Store]) or of any over the network ([Open]). A Store owns
// nothing but its watchers: a watcher that nobody reads drops its stream when
// it has [watchQueue] events and takes it up again where it was.
//
// The data of a Member is its folder's; a Member that is started on it again
// is the same member. It keeps the history of the last minutes for watchers,
// compacts what is older, and refuses what adds records (control.ErrFull)
// before its quota or the disk is used up, since etcd ends its process on a
// disk that is full: see [Config] and [Member.Reclaim].
//
// Only this package imports etcd, and only cmd/weft this package, so that a
// program that embeds Weft has none of it. All methods may be used
// concurrently.
package etcd
