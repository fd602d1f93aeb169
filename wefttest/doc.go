// Package wefttest gives a test a Weft of its own, in one line, and faults to
// try a program against.
//
//	func TestMain(m *testing.M) { wefttest.Main(m) }
//
//	func TestSum(t *testing.T) {
//		c := wefttest.Start(t)
//		got, err := sum.Call(c.Context(), []int{1, 2, 3})
//		…
//	}
//
// Start runs the node inside the test, where tasks are goroutines. Join runs it
// as `weft start` would: the test is a driver that joined it, and tasks run in
// worker processes, which are the test binary; Main makes it serve as one. A
// test that passes with both does not depend on which it is.
//
// When the test ends everything is shut down, and a goroutine, child process,
// descriptor or piece of shared memory that is left fails it. Tests that use
// this package must not run in parallel with each other: leaks are looked for
// in the whole process.
package wefttest
