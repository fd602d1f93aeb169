package own

import "github.com/weftrun/weft/internal/id"

// Record is one task or put that Drain exports and Adopt imports.
type Record struct{ Task id.Task }

func (m *Machine) adopt(id.Node, []Record) {}
