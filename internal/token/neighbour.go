package token

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Env names the environment variable with a token, which nobody should see in a
// list of processes.
const Env = "WEFT_TOKEN"

// RunDir is where a user's node is unless somebody says otherwise. The heads of
// the user leave tokens for this machine beside it.
func RunDir(getenv func(string) string) string {
	if run := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		return filepath.Join(run, "weft")
	}
	return filepath.Join("/tmp", fmt.Sprintf("weft-%d", os.Getuid()))
}

// Neighbours is the folder with those tokens, each in a file called like the
// port of its head.
func Neighbours(runDir string) string { return runDir + "-heads" }

// OfNeighbour is the token of this user's head on this machine that listens at
// an address; there is none for addresses of others.
func OfNeighbour(neighbours, address string) (string, error) {
	_, port, _ := net.SplitHostPort(address)
	b, err := os.ReadFile(filepath.Join(neighbours, port))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no head of this user runs on this machine at port %s", port)
	}
	if err == nil {
		err = ours(neighbours)
	}
	return strings.TrimSpace(string(b)), err
}

// ours refuses a folder that somebody else may have written to.
func ours(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a folder that only this user can enter: its tokens are not used", dir)
	}
	return nil
}
