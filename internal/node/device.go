package node

import (
	"os"
	"strings"

	sessionv1 "github.com/weftrun/weft/internal/gen/session/v1"
	"github.com/weftrun/weft/internal/resource"
)

// devicesOf are the accelerators that t runs with, for its worker.
func (n *Node) devicesOf(t *task) (all []*sessionv1.Devices) {
	for _, p := range n.dispatch.Devices(t.lease, t.actor) {
		name := resource.Accelerators[p.Kind]
		if len(all) == 0 || all[len(all)-1].Resource != name {
			all = append(all, &sessionv1.Devices{Resource: name})
		}
		last := all[len(all)-1]
		last.Numbers = append(last.Numbers, uint32(p.Device))
	}
	return all
}

// deviceNumbers is devicesOf for a run in this process.
func (n *Node) deviceNumbers(t *task) map[string][]int {
	var all map[string][]int
	for _, p := range n.dispatch.Devices(t.lease, t.actor) {
		if all == nil {
			all = map[string][]int{}
		}
		name := resource.Accelerators[p.Kind]
		all[name] = append(all[name], p.Device)
	}
	return all
}

// gpuFolder has one entry for each GPU that NVIDIA's driver knows.
const gpuFolder = "/proc/driver/nvidia/gpus"

// gpus is how many GPUs this machine has that its programs may use: as many as
// CUDA_VISIBLE_DEVICES names, if it is set.
func gpus(folder string, visible string, set bool) int {
	if !set {
		found, _ := os.ReadDir(folder)
		return len(found)
	}
	if visible == "" || visible == "NoDevFiles" || visible == "-1" {
		return 0
	}
	return strings.Count(visible, ",") + 1
}
