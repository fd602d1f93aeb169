package api

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weftrun/weft/internal/event"
	"github.com/weftrun/weft/internal/state"
)

// statusTimeout bounds how long a scrape waits for the node's lock.
const statusTimeout = 5 * time.Second

// metrics is a view of a node's totals and status, made when it is scraped.
type metrics struct {
	node Node

	events, failed                   *prometheus.Desc
	spilled, restored, moved, lost   *prometheus.Desc
	ran, queued                      *prometheus.Desc
	tasks, actors                    *prometheus.Desc
	workers, running, waiting, jobs  *prometheus.Desc
	total, free                      *prometheus.Desc
	memory, memoryLimit              *prometheus.Desc
	store, storeLimit, pinned, warm  *prometheus.Desc
	onDisk, objects, info, startTime *prometheus.Desc
}

// NewMetrics returns a collector of n's metrics, for a registry of n's own.
func NewMetrics(n Node) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weft_"+name, help, labels, nil)
	}
	return &metrics{
		node:        n,
		events:      desc("event_records_total", "What happened on the node, by kind of event.", "kind"),
		failed:      desc("task_failed_total", "Tasks that failed for good, by cause.", "cause"),
		spilled:     desc("object_spilled_bytes_total", "Bytes of objects written to disk."),
		restored:    desc("object_restored_bytes_total", "Bytes of objects read from disk."),
		moved:       desc("object_moved_bytes_total", "Bytes of objects fetched from other nodes."),
		lost:        desc("object_lost_bytes_total", "Bytes of objects that can neither be read nor made again."),
		ran:         desc("task_run_seconds", "How long tasks ran."),
		queued:      desc("task_queue_seconds", "How long tasks waited from their submission to their start."),
		tasks:       desc("task_living_count", "Tasks that have not ended, by state.", "state"),
		actors:      desc("actor_living_count", "Actors, by state.", "state"),
		workers:     desc("worker_processes_count", "Worker processes."),
		running:     desc("task_running_count", "Tasks and actor calls that run now."),
		waiting:     desc("task_queued_count", "Tasks that wait at this node."),
		jobs:        desc("job_running_count", "Jobs that run."),
		total:       desc("node_resource_units", "What the node has, by resource.", "resource"),
		free:        desc("node_resource_free_units", "What is not reserved, by resource.", "resource"),
		memory:      desc("memory_used_bytes", "Memory that the guard counts."),
		memoryLimit: desc("memory_limit_bytes", "Memory that the node may use."),
		store:       desc("store_used_bytes", "Shared memory that objects take."),
		storeLimit:  desc("store_limit_bytes", "Shared memory that objects may take."),
		pinned:      desc("store_pinned_bytes", "Objects in shared memory that are being read."),
		warm:        desc("store_warm_bytes", "Freed shared memory that is kept for the next object."),
		onDisk:      desc("store_spilled_bytes", "Objects on disk."),
		objects:     desc("store_objects_count", "Objects in shared memory and on disk."),
		info:        desc("node_info", "1; the node's identity.", "node", "version"),
		startTime:   desc("node_start_seconds", "When the node started, in Unix time."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	stats := m.node.Events().Stats()
	m.collectEvents(to, &stats)
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	status, err := m.node.State().Status(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(m.info, err)
		return
	}
	m.collectWork(to, &status)
	m.collectNode(to, &status)
}

func (m *metrics) collectEvents(to chan<- prometheus.Metric, s *event.Stats) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, k := range event.AllKinds() {
		counter(m.events, float64(s.Kinds[k]), k.String())
	}
	for _, c := range event.AllCauses() {
		if s.Causes[c] > 0 {
			counter(m.failed, float64(s.Causes[c]), c.String())
		}
	}
	counter(m.spilled, float64(s.Bytes[event.ObjectSpilled]))
	counter(m.restored, float64(s.Bytes[event.ObjectRestored]))
	counter(m.moved, float64(s.Bytes[event.ObjectMoved]))
	counter(m.lost, float64(s.Bytes[event.ObjectLost]))
	to <- histogram(m.ran, &s.Ran)
	to <- histogram(m.queued, &s.Queued)
}

// histogram shows each fourfold bound from a microsecond to four minutes.
func histogram(d *prometheus.Desc, h *event.Histogram) prometheus.Metric {
	const first, last, step = 10, 38, 2
	buckets := map[float64]uint64{}
	var below uint64
	for i, n := range h.Counts {
		below += n
		if i >= first && i <= last && (i-first)%step == 0 {
			buckets[event.Upper(i).Seconds()] = below
		}
	}
	return prometheus.MustNewConstHistogram(d, h.Count(), h.Sum.Seconds(), buckets)
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (m *metrics) collectWork(to chan<- prometheus.Metric, s *state.Status) {
	for name, n := range s.Tasks {
		gauge(to, m.tasks, float64(n), name)
	}
	for name, n := range s.Actors {
		gauge(to, m.actors, float64(n), name)
	}
	gauge(to, m.workers, float64(s.Node.Workers))
	gauge(to, m.running, float64(s.Node.Running))
	gauge(to, m.waiting, float64(s.Node.Queued))
	gauge(to, m.jobs, float64(s.Jobs))
}

func (m *metrics) collectNode(to chan<- prometheus.Metric, s *state.Status) {
	n := &s.Node
	for name, v := range n.Total {
		gauge(to, m.total, v, name)
		gauge(to, m.free, n.Free[name], name)
	}
	gauge(to, m.memory, float64(n.Memory.Used))
	gauge(to, m.memoryLimit, float64(n.Memory.Limit))
	gauge(to, m.store, float64(n.Store.Used))
	gauge(to, m.storeLimit, float64(n.Store.Limit))
	gauge(to, m.pinned, float64(n.Store.Pinned))
	gauge(to, m.warm, float64(n.Store.Warm))
	gauge(to, m.onDisk, float64(n.Store.Spilled))
	gauge(to, m.objects, float64(n.Store.Objects))
	gauge(to, m.info, 1, n.ID, n.Version)
	if !n.Started.IsZero() {
		gauge(to, m.startTime, float64(n.Started.Unix()))
	}
}

// metricsHandler serves a registry of the node's own, with this process's
// figures.
func metricsHandler(n Node) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewMetrics(n), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}
