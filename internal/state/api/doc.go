// Package api serves a node's state to people's tools, and is their client.
//
// [Handler] answers the NodeService of proto/api as Connect, gRPC and JSON over
// HTTP, the node's metrics for Prometheus at /metrics, and pages for
// debugging at /debug/. [Serve] runs it on a listener: HTTP/1.1 and, without
// TLS, HTTP/2. [Client] is a [state.Source] over the same protocol, so a tool
// does not know whether it speaks to a node in its own process.
//
// A Unix socket is for its own user alone: Serve asks the kernel who is there.
// On any other listener, requests that a web page could have sent are refused:
// those with a foreign Host or Origin.
//
// Views and messages have the same field names, and one function copies
// between them; a test fails if a field is missing on either side. Nothing
// here has state of its own, and everything may be used concurrently.
package api
