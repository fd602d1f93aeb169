package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/remote"
)

// proxyCommand is for programs that do not have a remote.Proxy in themselves.
func (p *program) proxyCommand() *cobra.Command {
	var call, side int
	c := &cobra.Command{
		Use: "proxy", Hidden: true, Short: "Be to a program what a node is, and lead to one elsewhere", Args: cobra.NoArgs,
		Long: "Proxy ends with the program's session, whose two lanes are the sockets given. The address is in " + addressVariable + ",\n" +
			"since it may have a token.",
		RunE: func(*cobra.Command, []string) error {
			return p.lead(os.NewFile(uintptr(call), "call lane"), os.NewFile(uintptr(side), "side lane"))
		},
	}
	c.Flags().IntVar(&call, "call-fd", -1, "the proxy's end of the call lane")
	c.Flags().IntVar(&side, "side-fd", -1, "the proxy's end of the side lane")
	return c
}

// lead returns when the session is over. What goes wrong the program is told.
func (p *program) lead(call, side *os.File) error {
	target, err := remote.ParseAddress(p.getenv(addressVariable), p.getenv)
	if err != nil {
		return remote.Refuse(call, err)
	}
	proxy, err := remote.Serve(target, call, side)
	if err != nil {
		return err
	}
	<-proxy.Done()
	return nil
}
