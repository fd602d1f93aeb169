package api

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/state"
)

// debugRows is how many rows a debug page shows.
const debugRows = 500

// page is one page below /debug/.
type page struct {
	path, what string
	write      func(ctx context.Context, w io.Writer, n Node) error
}

var pages = []page{
	{"tasks", "tasks", table(state.Source.Tasks, state.TaskTable)},
	{"actors", "actors", table(state.Source.Actors, state.ActorTable)},
	{"objects", "objects", table(state.Source.Objects, state.ObjectTable)},
	{"workers", "worker processes", table(state.Source.Workers, state.WorkerTable)},
	{"jobs", "jobs", table(state.Source.Jobs, state.JobTable)},
	{"nodes", "nodes", table(state.Source.Nodes, state.NodeTable)},
	{"groups", "placement groups", table(state.Source.Groups, state.GroupTable)},
	{"events", "the newest events", writeEvents},
}

// links are what else the index shows.
var links = []struct{ path, what string }{
	{"/metrics", "metrics, for Prometheus"},
	{"/debug/pprof/", "profiles"},
	{"/debug/pprof/goroutine?debug=2", "all goroutines"},
}

func addDebug(mux *http.ServeMux, n Node) {
	mux.HandleFunc("GET /debug/{$}", func(w http.ResponseWriter, _ *http.Request) { writeIndex(w) })
	mux.Handle("GET /{$}", http.RedirectHandler("/debug/", http.StatusSeeOther))
	for _, p := range pages {
		mux.HandleFunc("GET /debug/"+p.path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if err := p.write(r.Context(), w, n); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	mux.HandleFunc("GET /debug/why/{id}", func(w http.ResponseWriter, r *http.Request) {
		reason, err := n.State().Why(r.Context(), r.PathValue("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = reason.Write(w)
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

func writeIndex(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!doctype html><title>weft</title><h1>This node</h1><ul>\n")
	link := func(path, what string) {
		_, _ = fmt.Fprintf(w, "<li><a href=%q>%s</a>\n", path, html.EscapeString(what))
	}
	for _, p := range pages {
		link("/debug/"+p.path, p.what)
	}
	for _, l := range links {
		link(l.path, l.what)
	}
	_, _ = io.WriteString(w, "<li>/debug/why/ID: why something waits or failed\n</ul>\n")
}

// table makes a page of the first rows of a kind.
func table[T any](rows func(state.Source, context.Context, state.Query) (state.Rows[T], error), show func([]T, time.Time) *state.Table) func(context.Context, io.Writer, Node) error {
	return func(ctx context.Context, w io.Writer, n Node) error {
		found, err := rows(n.State(), ctx, state.Query{Limit: debugRows})
		if err != nil {
			return err
		}
		if err := show(found.Rows, time.Now()).Write(w, 0); err != nil {
			return err
		}
		if found.Truncated {
			_, err = fmt.Fprintf(w, "… of %d\n", found.Total)
		}
		return err
	}
}

func writeEvents(_ context.Context, w io.Writer, n Node) error {
	log := n.Events()
	end := log.End()
	from := event.Cursor{Ordinary: end.Ordinary - min(end.Ordinary, debugRows), Kept: end.Kept - min(end.Kept, debugRows)}
	entries, _, _ := log.Read(from, nil, 2*debugRows)
	for i := range entries {
		if _, err := fmt.Fprintln(w, entries[i].View(log.Start())); err != nil {
			return err
		}
	}
	return nil
}
