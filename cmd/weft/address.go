package main

import (
	"path/filepath"
	"strings"

	"github.com/weftrun/weft/internal/token"
)

// addressVariable names the node that commands and programs mean.
const addressVariable = "WEFT_ADDRESS"

// Files of a node's directory.
const (
	socketName = "weft.sock"
	lockName   = "weft.lock"
	logName    = "weft.log"
	eventsName = "events"
)

// maxSocketPath is the kernel's limit, less the final zero.
const maxSocketPath = 107

// defaultDir is where a user's node is unless somebody says otherwise.
func (p *program) defaultDir() string { return token.RunDir(p.getenv) }

// apiSocket is where a node that serves sessions at socket serves its API.
func apiSocket(socket string) string { return strings.TrimSuffix(socket, ".sock") + ".api.sock" }

// chosen is the address that the user gave, "" if none.
func (p *program) chosen() string {
	if p.address != "" {
		return p.address
	}
	return p.getenv(addressVariable)
}

// apiAddress is the API of the node that the user means.
func (p *program) apiAddress() (string, error) {
	address := p.chosen()
	switch {
	case address == "":
		address = p.defaultDir()
	case strings.HasPrefix(address, "http://"):
		return address, nil
	case strings.HasPrefix(address, "https://"):
		return "", usagef("address %q: a node has no TLS yet; use its socket, or http:// to the loopback address", address)
	case strings.HasPrefix(address, "weft://"):
		return "", usagef("address %q is for programs; commands want a node of this machine: its directory or socket, with --address or in %s", address, addressVariable)
	}
	address = strings.TrimPrefix(strings.TrimPrefix(address, "unix:"), "//")
	switch {
	case strings.HasSuffix(address, ".api.sock"):
		return address, nil
	case strings.HasSuffix(address, ".sock"):
		return apiSocket(address), nil
	}
	return apiSocket(filepath.Join(address, socketName)), nil
}

// nodeDir is the directory of the node that the user means.
func (p *program) nodeDir() (string, error) {
	address, err := p.apiAddress()
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(address, "http://") {
		return "", usagef("%s is no directory on this machine", address)
	}
	return filepath.Dir(address), nil
}
