package dispatch

import (
	"slices"

	"github.com/weftrun/weft/internal/id"
	"github.com/weftrun/weft/internal/resource"
)

// devices are a pool's accelerators of one kind, each by its number at the node:
// what is free of it, what idle leases hold, and what the pool has of it at all.
type devices struct{ free, idle, size []resource.Amount }

// Part is one device of a kind of accelerator, or a part of it.
type Part struct {
	Kind   int // in resource.Accelerators
	Device int
	Amount resource.Amount
}

// Devices returns the accelerators that a lease holds, or if it is 0 the one of
// an actor. The caller must not keep them.
func (m *Machine) Devices(lease Lease, actor id.Task) []Part {
	l := m.leases.get(lease)
	if lease == 0 {
		l = m.actors[actor]
	}
	if l == nil {
		return nil
	}
	return l.parts
}

// needsDevices reports whether v asks for accelerators.
func needsDevices(v *resource.Vector) bool {
	return slices.ContainsFunc(resource.Accelerators[:], func(name string) bool { return v.Get(name) > 0 })
}

// hasDevices reports whether the devices of p can be had that need asks for: so
// many that are whole, and one more of which there is enough. What idle leases
// and extra hold counts as free if others may have it.
func (p *pool) hasDevices(need *resource.Vector, idle bool, extra []Part) bool {
	for kind, name := range resource.Accelerators {
		a := need.Get(name)
		if a == 0 {
			continue
		}
		if kind >= len(p.devices) {
			return false
		}
		d := &p.devices[kind]
		whole, rest := a/resource.Unit, a%resource.Unit
		full, enough := resource.Amount(0), resource.Amount(0)
		for i, free := range d.free {
			if idle {
				free += d.idle[i]
			}
			for _, x := range extra {
				if x.Kind == kind && x.Device == i {
					free += x.Amount
				}
			}
			full += resource.Amount(b2i(free >= resource.Unit))
			enough += resource.Amount(b2i(free >= rest))
		}
		if full < whole || rest > 0 && enough <= whole {
			return false
		}
	}
	return true
}

// choose takes the devices that need asks for, of which there are enough: whole
// ones, and for a fraction the fullest that has room, so that others stay whole.
func (p *pool) choose(need *resource.Vector, parts []Part) []Part {
	for kind, name := range resource.Accelerators {
		a := need.Get(name)
		if a == 0 {
			continue
		}
		free := p.devices[kind].free
		for i := 0; a >= resource.Unit && i < len(free); i++ {
			if free[i] >= resource.Unit {
				parts = append(parts, Part{kind, i, resource.Unit})
				free[i] -= resource.Unit
				a -= resource.Unit
			}
		}
		best := -1
		for i := range free {
			if a > 0 && free[i] >= a && (best < 0 || free[i] < free[best]) {
				best = i
			}
		}
		if best >= 0 {
			parts = append(parts, Part{kind, best, a})
			free[best] -= a
		}
	}
	return parts
}

// putBack makes parts free again.
func (p *pool) putBack(parts []Part) {
	for _, x := range parts {
		p.devices[x.Kind].free[x.Device] += x.Amount
	}
}

// rested counts parts as held by idle leases, or with sign -1 no longer.
func (p *pool) rested(parts []Part, sign resource.Amount) {
	for _, x := range parts {
		p.devices[x.Kind].idle[x.Device] += sign * x.Amount
	}
}

// number gives the node's accelerators numbers, after a change of its total.
func (p *pool) number() {
	for kind, name := range resource.Accelerators {
		a := p.total.Get(name)
		if a == 0 && kind >= len(p.devices) {
			continue
		}
		for len(p.devices) <= kind {
			p.devices = append(p.devices, devices{})
		}
		d := &p.devices[kind]
		for i := 0; i < len(d.size) || a > 0; i++ {
			if i == len(d.size) {
				d.free, d.idle, d.size = append(d.free, 0), append(d.idle, 0), append(d.size, 0)
			}
			size := min(a, resource.Unit)
			d.free[i] += size - d.size[i]
			d.size[i] = size
			a -= size
		}
	}
}

// carved are the devices of a bundle that p, the node, gives.
func (p *pool) carved(need *resource.Vector) []devices {
	if !needsDevices(need) {
		return nil
	}
	made := make([]devices, len(p.devices))
	for kind := range made {
		n := len(p.devices[kind].size)
		made[kind] = devices{make([]resource.Amount, n), make([]resource.Amount, n), make([]resource.Amount, n)}
	}
	for _, x := range p.choose(need, nil) {
		made[x.Kind].free[x.Device] = x.Amount
		made[x.Kind].size[x.Device] = x.Amount
	}
	return made
}

// returned takes over what is free, or held by idle leases, of a bundle that goes.
func (p *pool) returned(bundle *pool) {
	for kind := range bundle.devices {
		for i := range bundle.devices[kind].size {
			p.devices[kind].free[i] += bundle.devices[kind].free[i]
			p.devices[kind].idle[i] += bundle.devices[kind].idle[i]
		}
	}
}
