// Package lint holds the rules of this repository that no public linter knows:
// who may import whom, what a pure machine may touch, how long a function may
// be. They run as Go tests, so `go test ./...` is enough to check them.
//
// A Tree is the parsed repository, a Rule looks at a Tree and returns Problems,
// and Rules is the list of all of them. A Problem names file, line, what is
// wrong and what to do instead. Exceptions are entries of the table in
// exempt.go, each with its reason; one that nothing needs any more is itself a
// Problem.
//
// A Tree is read-only once loaded: rules may run concurrently.
package lint
