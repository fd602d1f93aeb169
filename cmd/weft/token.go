package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/identity"
	"github.com/weftrun/weft/internal/token"
)

// tokensPath is the API's for tokens; only the user of a head reaches it.
const tokensPath = "/cluster/tokens"

// tokenRequest is what is asked there: with a Name to be revoked, else a new one.
type tokenRequest struct {
	Revoke string        `json:"revoke,omitempty"`
	Life   time.Duration `json:"life,omitempty"`
	Head   bool          `json:"head,omitempty"`
	Once   bool          `json:"once,omitempty"`
	Role   token.Role    `json:"role,omitempty"`
}

// tokenReply answers.
type tokenReply struct {
	Token   string               `json:"token,omitempty"`
	Join    string               `json:"join,omitempty"`    // the command of a node
	Address string               `json:"address,omitempty"` // of a driver
	Tokens  []identity.TokenInfo `json:"tokens,omitempty"`
}

// serveTokens implements http.Handler.
func (m *member) serveTokens(w http.ResponseWriter, r *http.Request) {
	reply, err := m.tokens(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := json.NewEncoder(w).Encode(reply); err != nil {
		return // who asked is gone
	}
}

func (m *member) tokens(r *http.Request) (reply tokenReply, err error) {
	if m.authority == nil {
		return reply, errors.New("this node is no head: ask one, with --address")
	}
	if r.Method == http.MethodGet {
		reply.Tokens, err = identity.Tokens(r.Context(), m.store)
		return reply, err
	}
	var req tokenRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<10)).Decode(&req); err != nil {
		return reply, err
	}
	if req.Revoke != "" {
		return reply, identity.Revoke(r.Context(), m.store, req.Revoke)
	}
	t, err := m.authority.NewToken(r.Context(), m.store, identity.TokenOptions{Life: req.Life, Head: req.Head, Once: req.Once, Role: req.Role})
	if err != nil {
		return reply, err
	}
	reply.Token = t.String()
	if req.Role != "" {
		reply.Address = "weft://" + m.Address()
		return reply, nil
	}
	reply.Join = fmt.Sprintf("weft start --address %s --token %s", m.Address(), t)
	if req.Head {
		reply.Join += " --head"
	}
	return reply, nil
}

// neighbours is the file from which nodes of this machine and user have the
// token to join with.
func (m *member) neighbours() string {
	_, port, _ := net.SplitHostPort(m.Address())
	return filepath.Join(m.cfg.heads, port)
}

// welcomeNeighbours lets nodes and drivers of this machine and user in without a
// token of their own.
func (m *member) welcomeNeighbours(ctx context.Context) error {
	if err := privateDir(m.cfg.heads); err != nil {
		return err
	}
	path := m.neighbours()
	if b, err := os.ReadFile(path); err == nil { // of a head that was killed
		if old, err := token.Parse(string(b)); err == nil {
			_ = identity.Revoke(ctx, m.store, old.Name())
		}
	}
	t, err := m.authority.NewToken(ctx, m.store, identity.TokenOptions{Head: true, Role: token.Admin})
	if err != nil {
		return err
	}
	m.token = t
	return errors.Join(os.WriteFile(path, []byte(t.String()), 0o600), m.invite(ctx))
}

// revokeTime is how long a head that ends waits for its token to be revoked.
const revokeTime = time.Second

// sendNeighboursAway ends what welcomeNeighbours began. Heads that are stopped
// together leave too few to write: then the token stays in the metadata, which
// nobody reads until this head is back and revokes it.
func (m *member) sendNeighboursAway(ctx context.Context) error {
	revoking, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	if err := identity.Revoke(revoking, m.store, m.token.Name()); err != nil {
		m.cfg.Log.Warn("the token of this machine's nodes is not revoked", "error", err)
		return nil // its file stays, for welcomeNeighbours
	}
	return os.Remove(m.neighbours())
}

// invite makes the command for nodes that are to join: of this machine, or if
// others can reach the head with a token for the first of them.
func (m *member) invite(ctx context.Context) error {
	m.invitation = "weft start --address " + m.Address()
	host, _, _ := net.SplitHostPort(m.Address())
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() || host == "localhost" {
		return nil
	}
	t, err := m.authority.NewToken(ctx, m.store, identity.TokenOptions{Life: firstToken, Once: true})
	if err == nil {
		m.invitation += " --token " + t.String()
	}
	return err
}

func (p *program) tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Let nodes and drivers into a cluster", Long: "Token makes, lists and revokes the tokens by which nodes of other machines join and programs on them are let in. It talks to a head."}
	c.AddCommand(p.tokenCreateCommand(), p.tokenListCommand(), p.tokenRevokeCommand())
	return c
}

func (p *program) tokenCreateCommand() *cobra.Command {
	var req tokenRequest
	var reusable bool
	var role string
	c := &cobra.Command{
		Use: "create", Short: "Make a token", Args: cobra.NoArgs,
		Long: "Create prints a token and the command to join with it. A token lets one node in, unless it is --reusable.\n\n" +
			"With --role it is for programs on other machines, any number of them, and what is printed sets the two variables\n" +
			"that they need. A reader looks at the cluster's state; a driver runs tasks and actors; an admin also reads what\n" +
			"any failed task was called with (weft replay).",
		Example: "  weft token create\n  weft token create --role driver --ttl 8h",
		RunE: func(c *cobra.Command, _ []string) error {
			if req.Life < 0 {
				return usagef("--ttl %v: want 0 or more", req.Life)
			}
			req.Once = !reusable && role == ""
			if role != "" {
				if err := req.forDriver(role, reusable, c.Flags().Changed("ttl")); err != nil {
					return err
				}
			}
			reply, err := p.askTokens(c.Context(), &req)
			if err != nil {
				return err
			}
			if p.json() {
				return p.printJSON(reply)
			}
			if role != "" {
				p.say("export %s=%s %s=%s", addressVariable, reply.Address, token.Env, reply.Token)
				return nil
			}
			p.say("%s", reply.Join)
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", "", "it is for programs on other machines, which may do as much as a reader, driver or admin")
	c.Flags().DurationVar(&req.Life, "ttl", firstToken, fmt.Sprintf("how long it is good for (with --role %v); 0 is for ever", driverToken))
	c.Flags().BoolVar(&req.Head, "head", false, "it lets another head in")
	c.Flags().BoolVar(&reusable, "reusable", false, "it lets any number of nodes in")
	return c
}

// forDriver makes the request one for a driver's token.
func (r *tokenRequest) forDriver(role string, reusable, life bool) (err error) {
	if r.Head || reusable {
		return usagef("--role is for programs, --head and --reusable are for nodes: choose")
	}
	if r.Role, err = token.ParseRole(role); err != nil {
		return usagef("--role: %w", err)
	}
	if !life {
		r.Life = driverToken
	}
	return nil
}

func (p *program) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tokens that there are", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			reply, err := p.askTokens(c.Context(), nil)
			if err != nil {
				return err
			}
			for _, t := range reply.Tokens {
				if p.json() {
					if err := p.printJSON(t); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintln(p.stdout, describeToken(t, time.Now()))
			}
			return nil
		},
	}
}

func describeToken(t identity.TokenInfo, now time.Time) string {
	text := t.Name + "  lets in " + map[bool]string{true: "one ", false: "any "}[t.Once] + map[bool]string{true: "head", false: "node"}[t.Head]
	switch {
	case t.Head && t.Role != "":
		text += fmt.Sprintf(" and %s of this machine", t.Role)
	case t.Role != "":
		text = t.Name + "  lets in any " + t.Role
	}
	switch {
	case t.Expires.IsZero():
		return text
	case now.After(t.Expires):
		return text + ", expired"
	}
	return fmt.Sprintf("%s, for another %v", text, t.Expires.Sub(now).Round(time.Second))
}

func (p *program) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "Delete a token; nodes that used it stay, sessions of drivers end", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, err := p.askTokens(c.Context(), &tokenRequest{Revoke: args[0]})
			return err
		},
	}
}

// askTokens asks the head that the user means; nil lists.
func (p *program) askTokens(ctx context.Context, req *tokenRequest) (reply tokenReply, err error) {
	if req == nil {
		return reply, p.askMember(ctx, http.MethodGet, tokensPath, nil, &reply)
	}
	return reply, p.askMember(ctx, http.MethodPost, tokensPath, req, &reply)
}
