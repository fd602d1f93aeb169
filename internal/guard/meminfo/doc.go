// Package meminfo reads how much memory there is and who uses it, for
// internal/guard.
//
// A [Reader] reads below a file system's root, which is that of the machine or,
// in tests, a made up one. It knows /proc and the memory controllers of cgroups
// 1 and 2, wherever they are mounted and however they are nested: a limit of
// any ancestor is a limit. Nothing but where they are mounted is remembered, so
// limits that change and processes that move are followed. A Reader is for one
// goroutine at a time.
//
// Sizes are bytes. What this machine does not tell is [Unknown].
package meminfo
