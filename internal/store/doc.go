// Package store holds a node's objects: in shared memory, on disk, or as bytes
// on the heap, and never more memory than its limit.
//
// A producer reserves room ([Store.Reserve]), writes it in place, and seals it
// into an object ([Store.Seal]), which is immutable from then on. A reader pins
// an object ([Store.Pin]) and is told its [Location]: in this process the
// location has the bytes, another process maps the slab or file it names
// ([Store.File] gives the descriptor to send). What a session reserved and
// pinned ends with it ([Store.EndSession]). An object lives until [Store.Free].
//
// Policy is internal/evict's, a pure machine; this package is the shell that
// keeps the bytes, runs its effects and feeds back what came of them. When the
// store is full it frees, drops secondary copies and spills to [Config.Disk];
// then producers wait. A wait is a callback, never a blocked goroutine;
// [Store.ReserveWait] and [Store.PinWait] are for callers that may block. When
// nothing can move for a second, new objects are made in mapped files on the
// disk, and when that has no room either, a producer gets a [FullError].
//
// Spilled objects are written in batches to large files, directly (O_DIRECT)
// where the file system can, each with a CRC-32C that is checked before anyone
// sees bytes that came back: a [CorruptError] names object and file. A file's
// space is punched out as its objects go, and the file is removed with the last.
//
// Who owns what: the store owns slabs, files, pins and reservations, behind one
// mutex; no system call that can take long is made under it. All methods may be
// called concurrently. Callbacks are called without locks, sometimes before the
// method that took them returns, sometimes on one of the store's own goroutines
// ([Config.Workers] of them, for disk and page population): they must not block.
// [Store.Close] waits for those goroutines.
package store
