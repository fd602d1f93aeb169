package event

// chunkLen is how many elements a ring allocates at once.
const chunkLen = 512

// ring keeps the newest elements pushed to it. Its memory is made in chunks as
// it first fills; after that it is used again.
type ring[T any] struct {
	chunks [][]T
	size   uint64 // capacity, a multiple of chunkLen
	next   uint64 // position of the next element; positions never repeat
}

func newRing[T any](n int) ring[T] {
	chunks := (n + chunkLen - 1) / chunkLen
	return ring[T]{chunks: make([][]T, chunks), size: uint64(chunks) * chunkLen}
}

func (r *ring[T]) push(v T) {
	i := r.next % r.size
	c := i / chunkLen
	if r.chunks[c] == nil {
		r.chunks[c] = make([]T, chunkLen)
	}
	r.chunks[c][i%chunkLen] = v
	r.next++
}

// oldest is the position of the oldest element that is still there.
func (r *ring[T]) oldest() uint64 { return r.next - min(r.next, r.size) }

// at returns the element at pos, which lies in [oldest, next).
func (r *ring[T]) at(pos uint64) *T {
	i := pos % r.size
	return &r.chunks[i/chunkLen][i%chunkLen]
}
