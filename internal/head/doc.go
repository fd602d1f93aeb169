// Package head connects the nodes of a cluster with its coordinator, the
// machine of package coordinate.
//
// The nouns: a [Head] runs on each node that can reach the metadata store. The
// heads elect one of them; it reads the records, steps the machine, commits
// what it writes, each time on the condition that it still leads, and tells the
// members. A [Member] runs on every node, a head's own included: it reports the
// node's figures and questions to whichever head leads, and gives the node what
// the coordinator wants.
//
// Both speak nodev1.Report and nodev1.Command over the links between nodes,
// which deliver in order and once for as long as both nodes live. So a message
// is lost only with a head. A Member keeps what it reported until the head
// acknowledges that what it changed is written, or until the answer comes, and
// tells the next head again.
//
// A Head owns the machine, a Member what is not acknowledged. Neither calls
// the node with its lock held.
package head
