package wire

import (
	"fmt"
)

// Versions of the session protocol that this build speaks. A node answers
// Hello with the lower of both sides' versions.
const (
	Version    = 1
	MinVersion = 1
)

// Roles of a session.
const (
	RoleDriver = "driver"
	RoleWorker = "worker"
)

// Languages of sessions and functions.
const (
	Go     = "go"
	Python = "python"
)

// WorkerEnv is the environment variable that tells a program that it is a
// worker: "3,4", the descriptors of its call lane and its side lane.
const WorkerEnv = "WEFT_WORKER"

// Negotiate returns the version to speak with a peer that speaks up to theirs.
func Negotiate(theirs uint32) (uint32, error) {
	v := min(theirs, Version)
	if v < MinVersion {
		return 0, &Error{Code: Protocol, Op: "hello",
			Message: fmt.Sprintf("the peer speaks version %d of the session protocol, this program %d to %d", theirs, MinVersion, Version),
			Hint:    "use the same release of Weft on both sides"}
	}
	return v, nil
}

// CheckVersion returns an error if a node's Welcome chose a version that this
// program did not offer.
func CheckVersion(chosen uint32) error {
	if chosen < MinVersion || chosen > Version {
		return &Error{Code: Protocol, Op: "welcome",
			Message: fmt.Sprintf("the node chose version %d of the session protocol, this program speaks %d to %d", chosen, MinVersion, Version),
			Hint:    "use the same release of Weft on both sides"}
	}
	return nil
}
