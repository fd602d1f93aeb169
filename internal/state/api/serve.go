package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	headerTimeout = 10 * time.Second
	maxHeader     = 64 << 10
	// drainTimeout is how long open requests may go on after the end.
	drainTimeout = 2 * time.Second
)

// Serve answers requests on l until ctx is done, and closes l. Requests that
// are under way then get a moment to end; streams of events end at once.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	requests, end := context.WithCancel(context.Background())
	defer end()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	if l.Addr().Network() == "unix" {
		l = ownUserOnly{l}
	} else {
		h = localOnly(h)
	}
	server := &http.Server{
		Handler:           h,
		Protocols:         &protocols,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		shutdown(server, end)
	})
	err := server.Serve(l)
	if !stop() {
		<-done // it is shutting down
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// shutdown lets requests end for a moment. Streams wait for events, not for
// bytes: their contexts end first.
func shutdown(server *http.Server, endStreams func()) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	endStreams()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// ownUserOnly drops connections of other users; root may do anything anyway.
type ownUserOnly struct{ net.Listener }

func (l ownUserOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if err := checkPeer(c); err == nil {
			return c, nil
		}
		_ = c.Close()
	}
}

func checkPeer(c net.Conn) error {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("not a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not use this node", cred.Uid)
	}
	return nil
}

// localOnly refuses what a web page on another site could have a browser send.
func localOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			http.Error(w, "weft: this Host is not this machine's loopback address", http.StatusForbidden)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" {
			if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
				http.Error(w, "weft: requests from other sites are refused", http.StatusForbidden)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
