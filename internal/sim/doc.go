// Package sim runs whole clusters of Weft's pure machines in one goroutine and
// in virtual time.
//
// A Cluster has nodes; each has the four machines that a real node has (own,
// place, dispatch, actor) and a copy of the glue between them without bytes,
// sockets and processes: a task is a Program, an object a size. Between nodes
// is a fake network: links that number their messages and deliver them in
// order, once, with delay and loss, and that can be cut between any two
// messages. Nodes and workers die, nodes are slow, copies get lost.
//
// Everything comes from Options.Seed and the calls on the Cluster: the same
// ones make the same decisions, and Hash is equal. An oracle that sees all
// nodes at once checks what none of them can know: that nothing is freed while
// referenced, that one attempt's results are taken, that calls keep their
// order. Check asks each machine for its own invariants; CheckSettled and
// CheckEmpty are for a cluster at rest.
//
// Effects run in the order in which the machines made them, over all machines
// of a node: a consequence never overtakes what was decided before it. The real
// node keeps the same rule.
package sim
