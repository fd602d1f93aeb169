package state

import "time"

// Reason is why something is as it is: a tree whose children are what it waits
// for, down to what can be acted on.
type Reason struct {
	Kind  string `json:"kind"` // task, actor, object, group, worker, job, node
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	State string `json:"state"`
	// Text is one sentence: why.
	Text string `json:"text,omitempty"`
	// Since is how long it has been so.
	Since time.Duration `json:"since_ns,omitempty"`
	// Shortage is what it lacks, if it waits for a resource or for room.
	Shortage *Shortage `json:"shortage,omitempty"`
	// WaitsFor must all come about.
	WaitsFor []*Reason `json:"waits_for,omitempty"`
	// Deadlock names those who wait for each other, if this is one of them.
	Deadlock []string `json:"deadlock,omitempty"`
	// Error is the text of its failure, several lines perhaps.
	Error string `json:"error,omitempty"`
	// Next is what a person can do about it.
	Next string `json:"next,omitempty"`
	// Again: it is in the tree above already, with its reasons.
	Again bool `json:"again,omitempty"`
	// More is how many things it waits for are not listed.
	More int `json:"more,omitempty"`
}

// Shortage is a resource that something asked for and there is too little of.
type Shortage struct {
	Resource string   `json:"resource"` // CPU, memory, a custom one, "store"
	Asked    float64  `json:"asked"`
	Free     float64  `json:"free"`
	Total    float64  `json:"total"`
	HeldBy   []Holder `json:"held_by,omitempty"` // the largest ones
	More     int      `json:"more,omitempty"`    // holders that are not listed
}

// Holder has some of a resource.
type Holder struct {
	Kind   string        `json:"kind"`
	ID     string        `json:"id"`
	Name   string        `json:"name,omitempty"`
	State  string        `json:"state,omitempty"`
	Amount float64       `json:"amount"`
	Since  time.Duration `json:"since_ns,omitempty"`
}
