// Package place decides on which node each task of an owner runs. It is a
// pure state machine: an event and the time go in, an ordered list of effects
// comes out.
//
// The nouns:
//
//   - A view is what the owner knows of a node: total and free resources,
//     labels, queue length. It is always a little old; refusals correct it.
//   - Work is the owner's tasks of one lease key, and the nodes they may run on.
//   - A site is work waiting for one other node: its tasks, the leases asked
//     for there and those held. Tasks are bound to a node as late as possible:
//     a lease that runs out of tasks takes those that wait at other sites.
//   - Parked tasks wait for a node, a label or a placement group to come.
//
// Tasks for this node itself need no lease: they go Here, to its dispatcher, from
// where they are recalled when another node has room and they still wait.
// While only this node is known that is all there is to do.
//
// A lease is refused at most twice for a task; then its node is asked for one
// to wait for.
//
// The caller's duties: one goroutine at a time calls any method; now never
// goes back; effects are carried out in order; answers of a node come in the
// order it gave them; [Tick] is sent at [Machine.Deadline]. A View of this
// node is due whenever its dispatcher's figures changed much, if there are
// other nodes. Events and their slices are not kept, specs, labels and the
// nodes of a group are.
package place
