// Package worker starts worker processes and sees them out.
//
// A worker is the driver's own program, started again with two socketpairs, its
// lanes, and told so by its environment (wire.WorkerEnv). It is the leader of a
// process group of its own, so that a Ctrl-C at the driver's terminal does not
// reach it and so that what it starts ends with it. What it prints is read
// always, cut into lines of bounded length, and handed to a callback; the last
// lines it wrote to standard error are kept for the error that says how it ended.
//
// A worker of Python is forked from a zygote, if it can be; see Zygotes. It is the
// node's own child all the same, and a Process like others.
//
// A Process has two goroutines for its output and one that reaps it; they end
// with it, and Exited tells. All methods may be used concurrently.
//
// A worker ends by itself when its lanes do: if the node is killed, that is all
// that happens to its workers.
package worker
