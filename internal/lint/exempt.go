package lint

// An Exemption allows one file to break one rule.
type Exemption struct {
	Rule   string
	Path   string
	Reason string
}

// Exempt lists the exemptions. Keep it short.
var Exempt = []Exemption{
	{"guest", "internal/client/worker.go", "a worker process belongs to Weft; what its tasks start must not take itself for one"},
	{"guest", "internal/client/replay.go", "so does a program that replays a task; what that starts must not replay it"},
}
