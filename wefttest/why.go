package wefttest

// Why is what `weft why` says of a task, an actor or an object at the node of
// Join, or why it says nothing.
func (c *Cluster) Why(id string) string {
	if c.node == nil {
		return ""
	}
	r, err := c.node.State().Why(c.ctx, id)
	if err != nil {
		return err.Error()
	}
	return r.String()
}
