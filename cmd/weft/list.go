package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftrun/weft/internal/state"
	"github.com/weftrun/weft/internal/state/api"
)

// pageRows is how many rows one request gets.
const pageRows = 1000

// listing is one kind of rows.
type listing struct {
	name string
	run  func(p *program, ctx context.Context, c *api.Client, q state.Query) error
	// fields are what a filter can name.
	fields []string
}

var listings = []listing{
	{"tasks", lister((*api.Client).Tasks, state.TaskTable, func(r *state.Task) string { return r.ID }), state.Fields[state.Task]()},
	{"actors", lister((*api.Client).Actors, state.ActorTable, func(r *state.Actor) string { return r.ID }), state.Fields[state.Actor]()},
	{"objects", lister((*api.Client).Objects, state.ObjectTable, func(r *state.Object) string { return r.ID }), state.Fields[state.Object]()},
	{"workers", lister((*api.Client).Workers, state.WorkerTable, func(r *state.Worker) string { return strconv.Itoa(r.ID) }), state.Fields[state.Worker]()},
	{"jobs", lister((*api.Client).Jobs, state.JobTable, func(r *state.Job) string { return r.ID }), state.Fields[state.Job]()},
	{"nodes", lister((*api.Client).Nodes, state.NodeTable, func(r *state.Node) string { return r.ID }), state.Fields[state.Node]()},
	{"groups", lister((*api.Client).Groups, state.GroupTable, func(r *state.Group) string { return r.ID }), state.Fields[state.Group]()},
}

func (p *program) listCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List tasks, actors, objects, workers, jobs, nodes or groups",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("list what? tasks, actors, objects, workers, jobs, nodes or groups")
		},
	}
	for _, l := range listings {
		list.AddCommand(p.listingCommand(l))
	}
	return list
}

func (p *program) listingCommand(l listing) *cobra.Command {
	var filters []string
	var q state.Query
	c := &cobra.Command{
		Use:     l.name,
		Aliases: []string{strings.TrimSuffix(l.name, "s")},
		Short:   "List " + l.name,
		Long: "List " + l.name + ", sorted by id.\n\nA filter is FIELD=VALUE, or with != ~ (contains) < or >. Fields are\n" +
			strings.Join(l.fields, ", ") + ";\nan entry of a map is FIELD.KEY.",
		Example: "  weft list tasks --filter state=RUNNING --filter name~train\n  weft list objects --filter 'bytes>1000000' --format json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, text := range filters {
				f, err := state.ParseFilter(text)
				if err != nil {
					return &usageError{err}
				}
				q.Filters = append(q.Filters, f)
			}
			if q.Limit < 0 {
				return usagef("--limit %d: want 0 for all, or more", q.Limit)
			}
			return p.withClient(func(client *api.Client) error { return l.run(p, c.Context(), client, q) })
		},
	}
	c.Flags().StringArrayVar(&filters, "filter", nil, "FIELD=VALUE; may be repeated, and all must match")
	c.Flags().IntVar(&q.Limit, "limit", state.DefaultLimit, "how many; 0 is all")
	if l.name == "tasks" {
		c.Flags().BoolVar(&q.Ended, "ended", false, "also those that have ended well or were cancelled, as far as they are remembered")
	}
	c.Flags().StringVar(&q.After, "after", "", "only those with a greater id: the last one of the page before")
	return c
}

type rowsFunc[T any] func(*api.Client, context.Context, state.Query) (state.Rows[T], error)

// lister lists rows of one kind, in as many requests as it takes.
func lister[T any](rows rowsFunc[T], table func([]T, time.Time) *state.Table, id func(*T) string) func(*program, context.Context, *api.Client, state.Query) error {
	return func(p *program, ctx context.Context, c *api.Client, q state.Query) error {
		var all []T
		left := q.Limit
		for {
			q.Limit = pageRows
			if left > 0 {
				q.Limit = min(left-len(all), pageRows)
			}
			found, err := rows(c, ctx, q)
			if err != nil {
				return err
			}
			all = append(all, found.Rows...)
			if !found.Truncated || len(found.Rows) == 0 || len(all) == left {
				for _, node := range found.Missing {
					fmt.Fprintf(p.stderr, "node %s did not answer: what it has is not listed\n", node)
				}
				return showRows(p, all, found.Total, found.Truncated, table)
			}
			q.After = id(&all[len(all)-1])
		}
	}
}

func showRows[T any](p *program, rows []T, total int, more bool, table func([]T, time.Time) *state.Table) error {
	if p.json() {
		for i := range rows {
			if err := p.printJSON(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := table(rows, time.Now()).Write(p.stdout, p.width); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(p.stderr, "%d of %d; --limit 0 shows all, --filter fewer\n", len(rows), total)
	}
	return nil
}
