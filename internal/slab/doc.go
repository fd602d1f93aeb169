// Package slab is Weft's shared memory: bytes that a producer process writes
// once and every process of the same job reads without a copy.
//
// A [Pool] is a node's shared memory, bounded in bytes. It hands out an
// [Extent]: a page-aligned range of a slab. A slab is one memfd that belongs to
// one [Writer], a session of one job. The writer's process maps it writable
// once and keeps the mapping over all its puts; everyone else is given a
// read-only descriptor, which the kernel refuses to map writable.
//
// Every extent is whole pages, rounded up to a size class of at most an eighth
// more, so that the bytes charged for it ([Pool.Charge]) are exactly the pages
// it keeps resident, and an extent that fits the limit can always be placed:
// slabs are sparse files, so there is no fragmentation except of addresses.
// Objects small enough for that to be a waste travel inline and never come
// here. Extents over 1/16 of the limit get a memfd of their own.
//
// A page is populated before its extent is handed out: shortage is a
// [NoMemoryError], never a SIGBUS in the writer. A freed extent stays populated
// ("warm") and goes to the writer's next extent of that size, last freed first,
// because a cold page costs ten times its copy. Beyond [Config.Warm], or when
// another writer needs the room, the pages freed longest ago are punched out of
// the file, which takes them from every process that still maps them.
//
// Sealing: F_SEAL_SHRINK and F_SEAL_GROW are set, so that nobody who holds a
// descriptor can truncate the file under a reader. F_SEAL_FUTURE_WRITE is not:
// it also forbids punching holes, and the limit could no longer be enforced
// against a process that is slow to unmap. Read-only descriptors do its work
// between the processes of one job, who are the only ones to see a slab.
//
// Who owns what: the pool's tables are on the node's Go heap, behind one mutex,
// and nothing in shared memory is ever trusted. All methods of Pool may be
// called concurrently. [Pool.Free] and [Pool.Shrink] make no system call, so a
// caller may hold its own lock; [Pool.Alloc] and [Pool.Settle] may punch and
// populate, milliseconds per 100 MiB, without holding the pool's lock.
//
// [Map] is the half for other processes: it maps a descriptor they were sent.
package slab
