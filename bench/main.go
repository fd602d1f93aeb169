// Command bench measures what Weft promises, each figure beside its limit: what
// the machine itself can do, measured in the same run, in turn with it.
//
//	go run ./bench                    everything; into bench/results
//	go run ./bench -run 'objects' -quick
//
// A [topic] is one measurement, with a [row] of the table for each of its
// figures. Each topic runs in a process of its own, so that none inherits
// another's heap, and one that hangs or crashes costs only its own rows. Such a
// process sends its [sample]s to the first one, which owns the results and
// prints them as they are: what was not reached says so.
//
// The same binary is also the worker of the nodes that it starts, and the other
// end of the limits that need a second process.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/client"
)

// options are the program's flags.
type options struct {
	rounds int
	quick  bool
	run    string
	list   bool
	weft   string
	out    string
	name   string
	tmp    string
	prof   string

	topic string // in a child: what to measure
	peer  string // in a child: which limit's other end to be
}

func parseFlags() *options {
	o := &options{}
	flag.IntVar(&o.rounds, "rounds", 6, "how often each thing is measured; the table has medians")
	flag.BoolVar(&o.quick, "quick", false, "short rounds and smaller sizes, to see that everything runs; the results table is not written")
	flag.StringVar(&o.run, "run", "", "only rows whose name matches this regular expression, and what is measured with them")
	flag.BoolVar(&o.list, "list", false, "only list the rows")
	flag.StringVar(&o.weft, "weft", "bin/weft", "the binary that starts nodes")
	flag.StringVar(&o.out, "out", "bench/results", "where results go")
	flag.StringVar(&o.name, "name", "core", "the what in the results' names, DATE-WHAT.txt")
	flag.StringVar(&o.tmp, "tmp", os.TempDir(), "where nodes and spilled objects are; its disk is the one measured")
	flag.StringVar(&o.prof, "profile", "", "a folder for CPU profiles, of each topic and of its nodes")
	flag.StringVar(&o.topic, "topic", "", "internal: measure this and tell the parent process")
	flag.StringVar(&o.peer, "peer", "", "internal: be the other end of a limit")
	flag.Parse()
	return o
}

func main() {
	if client.IsWorker() {
		_, err := weft.Init(context.Background()) // serves and does not return
		fatal(err)
	}
	o := parseFlags()
	switch {
	case o.peer != "":
		fatal(runPeer(o.peer))
	case o.topic != "":
		fatal(measureTopic(o))
	default:
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer cancel()
		fatal(runAll(ctx, o))
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// runAll measures the chosen topics and writes the results.
func runAll(ctx context.Context, o *options) error {
	filter, err := regexp.Compile(o.run)
	if err != nil {
		return err
	}
	var chosen []*topic
	for _, t := range topics {
		if t.matches(filter) {
			chosen = append(chosen, t)
		}
	}
	if o.list {
		for _, t := range chosen {
			for i := range t.rows {
				fmt.Printf("%-28s %s\n", t.rows[i].name, t.rows[i].what)
			}
		}
		return nil
	}
	res := &results{Env: environment(ctx), Rounds: o.rounds, Quick: o.quick}
	for _, t := range chosen {
		fmt.Fprintf(os.Stderr, "== %s\n", t.name)
		found := t.run(ctx, o)
		res.add(t, found)
		res.writeTopic(os.Stderr, t)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return res.save(o)
}
