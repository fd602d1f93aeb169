// Package leak finds what a test leaves behind: goroutines, child processes,
// open file descriptors, shared mappings (memfds among them) and files.
//
// A test that starts such things begins with
//
//	leak.Check(t)
//
// and a package of them may say so once, with leak.Main in its TestMain. What
// lies at the bottom is a Snapshot: what the process had at one moment, and the
// question what it has beyond that now. Closing takes time, so the question is
// asked again until nothing is left or the bound is over.
//
// The whole process is looked at, so tests in parallel with a Check are taken
// for leaks of each other. On systems without /proc only goroutines and files
// are seen. A process whose parent is gone belongs to nobody any more and is not
// seen either.
package leak
