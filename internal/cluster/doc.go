// Package cluster makes a node a member of a cluster: it joins the node, its
// links to others and its seat with the coordinator, and on a head the
// coordinator's shell.
//
// The nouns: a [Member] is one node of a cluster. A head is one that has a
// metadata store. The others need the address of any head. Drivers from outside
// use any.
//
// A Member owns its links and the addresses of the other nodes.
package cluster
