// Package weft runs Go functions and types as tasks and actors, on this machine
// or on a cluster, and shares objects between them.
//
//   - A task is a call of a registered function. Remote returns a Ref to its
//     result at once; Get waits for it.
//   - An actor is a value that lives somewhere and whose methods are called
//     like tasks, one after the other.
//   - An object is a value that a task returned or that Put stored. Refs to it
//     are passed to tasks instead of the value.
//
// The smallest program:
//
//	var square = weft.Task1("square", func(ctx context.Context, x int) (int, error) { return x * x, nil })
//
//	func main() {
//		ctx := context.Background()
//		s, err := weft.Init(ctx)
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer s.Shutdown(ctx)
//		fmt.Println(square.Call(ctx, 7)) // 49 <nil>
//	}
//
// # Sessions
//
// Init without an address runs a node inside the program: tasks are goroutines,
// values pass by reference, and a call costs microseconds. With Address, or with
// WEFT_ADDRESS in the environment, it joins a running node, whose workers are
// further processes of this same binary: Init must therefore come first in main,
// since in a worker it serves and never returns. Nothing else in a program changes.
//
// The first session is the one that a plain context uses. Others are used
// through Session.Context. Inside a task, use the context that it was given.
//
// # Values
//
// A value given to Weft must not be changed afterwards. An embedded node passes
// values by reference and encodes them only when they leave the process, so that
// every type that a function takes or returns must be encodable: []byte travels
// as it is, protobuf messages as protobuf, everything else as CBOR. Registration
// rejects channels, functions and the like with the line of the mistake.
//
// # Concurrency
//
// Everything here may be used from several goroutines at the same time, except
// Items, which is one consumer's.
package weft
