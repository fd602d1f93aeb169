// Package state says what a node's tasks, actors, objects, workers, jobs, nodes
// and placement groups are doing, and why, in a form for people and programs.
//
// The nouns: a view such as [Task] is a row, made when somebody asks; a [Source]
// answers a [Query] with rows, or says with a tree of [Reason]s why something
// waits. A node is a Source; so is a client of a node's API. [Select] applies a
// Query to rows, [Table] prints them aligned, [Reason.Write] prints a tree, and
// [Deadlocks] finds those that wait for each other in a [Graph] of waits.
//
// A Source may be called concurrently. Everything else here is plain values
// and pure functions over them: no goroutine, no lock, no clock.
//
// State names are Ray's where Ray has one.
package state
