// Package identity says who is who in a cluster: every connection between
// nodes is TLS with certificates on both sides.
//
// The nouns: the [Authority] is the cluster's certificate authority. Its key is
// on the heads, in files that only their user can read. [Credentials] are a
// node's certificate, which names the cluster and the node, with its key, which
// never leaves the process. A token (package token) lets a node in that has no
// certificate yet, or a driver, which never gets one and has the token's role
// instead. It has the authority's fingerprint, so that its holder trusts no
// other, and a secret of which the metadata store has the hash; one that is for
// one use is deleted, in one transaction with no other, before it is answered.
//
// Nothing in here is on the path of a task.
package identity
