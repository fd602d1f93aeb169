package own

import "strconv"

func name(names []string, i uint8) string {
	if int(i) < len(names) && names[i] != "" {
		return names[i]
	}
	return strconv.Itoa(int(i))
}

var eventNames = []string{
	Submit: "submit", Put: "put", Hold: "hold", Drop: "drop", Share: "share", SendRef: "send-ref", Cancel: "cancel",
	SessionEnd: "session-end", Consume: "consume", DropStream: "drop-stream", Started: "started", Item: "item",
	Done: "done", Failed: "failed", CopyAdded: "copy-added", CopyLost: "copy-lost", NodeDead: "node-dead", Heir: "heir",
	Peer: "peer", Tick: "tick", SessionStart: "session-start", Want: "want", GotRef: "got-ref", Retire: "retire",
	Adopt: "adopt",
}

var effectNames = []string{
	Runnable: "runnable", Ready: "ready", ItemReady: "item-ready", StreamEnd: "stream-end", Free: "free",
	FailTask: "fail-task", Retry: "retry", Unqueue: "unqueue", Interrupt: "interrupt",
	Credit: "credit", Forget: "forget", Send: "send", Unexpected: "unexpected", Unused: "unused",
}

var faultNames = []string{
	User: "user error", WorkerDied: "worker died", NodeDied: "node died", OutOfMemory: "out of memory", TooLarge: "too large for the node's memory",
	ArgLost: "argument lost", Cancelled: "cancelled", Unschedulable: "unschedulable", SetupFailed: "setup failed",
	ActorDead: "actor dead", ActorMaybe: "actor restarted, may have run", Bystander: "its process died of another task", Suspect: "its process died, of it or of another",
	ReplayMismatch: "replay mismatch", ShortResult: "short result", Final: "final error", Declined: "declined", ArgMoved: "argument moved",
}

var msgNames = []string{
	RefAdd: "ref-add", RefDrop: "ref-drop", Subscribe: "subscribe", Resolved: "resolved", CopyMade: "copy-made",
	CopyGone: "copy-gone", Release: "release", StopTask: "stop-task", Audit: "audit", RefHeld: "ref-held",
}

var goneNames = []string{Present: "present", Freed: "freed", Unknown: "unknown", OwnerDied: "owner died", Lost: "lost"}

var stateNames = []string{Waiting: "waiting", Queued: "queued", Running: "running", Ended: "ended"}

func (k EventKind) String() string  { return name(eventNames, uint8(k)) }
func (k EffectKind) String() string { return name(effectNames, uint8(k)) }
func (f Fault) String() string      { return name(faultNames, uint8(f)) }
func (k MsgKind) String() string    { return name(msgNames, uint8(k)) }
func (g Gone) String() string       { return name(goneNames, uint8(g)) }
func (s State) String() string      { return name(stateNames, uint8(s)) }
