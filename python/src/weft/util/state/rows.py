"""How a node's rows, as its state API has them, become those of weft.util.state.common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Callable, Optional

from weft import _state
from weft._pb import session_pb2 as pb
from weft.util.state import common
from weft.util.state.common import StateResource

Row = dict[str, Any]


def ask(what: str, about: Any = None) -> Any:
    """What the node answers."""
    data = b"" if about is None else json.dumps(about).encode()
    return json.loads(_state.current().ask(pb.KIND_QUERY, pb.Query(what=what, id=data)).json)


def fetch(resource: StateResource, limit: int) -> tuple[list[Row], int]:
    """At most so many rows, and how many there are."""
    if resource is StateResource.RUNTIME_ENVS:
        envs = _environments()
        return envs[:limit], len(envs)
    if resource is StateResource.CLUSTER_EVENTS:
        events = [_event(i, e) for i, e in enumerate(ask("events") or [])]
        return events[-limit:], len(events)
    what, convert = _KINDS[resource]
    found = ask(what, {"limit": limit, "ended": True})
    return convert(found["rows"]), found["total"]


def worker_id(number: int) -> str:
    return f"{number:08x}"


def _milliseconds(time: Optional[str]) -> Optional[int]:
    """The time of a row, which is RFC 3339 with up to nanoseconds."""
    if not time:
        return None
    whole, _, rest = time.partition(".")
    fraction = "".join(c for c in rest.rstrip("Z").split("+")[0].split("-")[0] if c.isdigit())
    zone = rest[len(fraction) :] if rest else ""
    if not rest:
        whole, zone = (whole[:-1], "Z") if whole.endswith("Z") else (whole[:-6], whole[-6:])
    moment = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone))
    return int(moment.timestamp()) * 1000 + int((fraction + "000")[:3])


def _pids() -> dict[int, int]:
    return {w["id"]: w["pid"] for w in ask("workers", {"limit": common.RAY_MAX_LIMIT_FROM_DATA_SOURCE})["rows"]}


_TASK_STATES = {"RUNNING_IN_GET": "RUNNING_IN_RAY_GET", "RUNNING_IN_WAIT": "RUNNING_IN_RAY_WAIT"}
_ERROR_TYPES = {
    "user_error": "TASK_EXECUTION_EXCEPTION", "worker_died": "WORKER_DIED", "node_died": "NODE_DIED", "out_of_memory": "OUT_OF_MEMORY",
    "argument_lost": "OBJECT_LOST", "cancelled": "TASK_CANCELLED", "unschedulable": "TASK_UNSCHEDULABLE_ERROR",
    "setup_failed": "RUNTIME_ENV_SETUP_FAILED", "actor_died": "ACTOR_DIED", "maybe_ran": "ACTOR_UNAVAILABLE",
}  # fmt: skip


def _tasks(rows: list[Row]) -> list[Row]:
    pids = _pids()
    return [_task(r, pids) for r in rows]


def _task(r: Row, pids: Mapping[int, int]) -> Row:
    times = {k: _milliseconds(r.get(k)) for k in ("submitted", "started", "ended")}
    state = _TASK_STATES.get(r["state"], r["state"])
    begun = [("PENDING_NODE_ASSIGNMENT", times["submitted"]), ("RUNNING", times["started"]), (state, times["ended"])]
    return {
        "task_id": r["id"], "attempt_number": max(r["attempt"] - 1, 0), "name": r["name"], "state": state, "job_id": r["job"],
        "actor_id": r.get("actor"), "type": r["kind"] or "NORMAL_TASK", "func_or_class_name": r.get("function") or r["name"],
        "parent_task_id": r.get("parent", ""), "node_id": r.get("node"), "worker_id": worker_id(r["worker"]) if "worker" in r else None,
        "worker_pid": pids.get(r.get("worker", -1)), "error_type": _ERROR_TYPES.get(r.get("cause", "")), "error_message": r.get("error"),
        "required_resources": r.get("resources", {}), "creation_time_ms": times["submitted"], "start_time_ms": times["started"],
        "end_time_ms": times["ended"], "events": [{"state": s, "created_ms": t} for s, t in begun if t],
    }  # fmt: skip


def _actors(rows: list[Row]) -> list[Row]:
    return [{
        "actor_id": r["id"], "class_name": r["class"], "state": r["state"], "job_id": r["job"], "name": r.get("name", ""),
        "node_id": r.get("node"), "pid": r.get("pid", 0), "ray_namespace": r.get("namespace", ""), "required_resources": r.get("resources", {}),
        "death_cause": {"reason": r["cause"]} if r.get("cause") else None, "is_detached": r.get("detached", False), "num_restarts": r["restarts"],
        "num_restarts_due_to_lineage_reconstruction": 0, "num_restarts_due_to_node_preemption": 0, "repr_name": "",
    } for r in rows]  # fmt: skip


def _objects(rows: list[Row]) -> list[Row]:
    limit = common.RAY_MAX_LIMIT_FROM_DATA_SOURCE
    pids = {j["id"]: j.get("pid", 0) for j in ask("jobs", {"limit": limit})["rows"]}
    tasks = {t["id"]: t for t in ask("tasks", {"limit": limit, "ended": True})["rows"]}
    return [_object(r, tasks.get(r["id"][:32], {}), pids) for r in rows]


def _object(r: Row, task: Row, pids: Mapping[str, int]) -> Row:
    """The row of an object that a task made, if that is still known, or of one that was put."""
    state = "FAILED" if r["state"] == "FAILED" else task.get("state", "NIL")
    return {
        "object_id": r["id"], "object_size": r["bytes"], "task_status": _TASK_STATES.get(state, state), "attempt_number": task.get("attempt", 1),
        "reference_type": _reference(r), "call_site": task.get("name", "(put object)"), "type": "DRIVER",
        "pid": pids.get(r.get("job") or task.get("job", ""), 0), "ip": "127.0.0.1",
    }  # fmt: skip


def _reference(r: Row) -> str:
    if r.get("pins"):
        return "PINNED_IN_MEMORY"
    return "USED_BY_PENDING_TASK" if r.get("waiting") else "LOCAL_REFERENCE"


def _nodes(rows: list[Row]) -> list[Row]:
    return [{
        "node_id": r["id"], "node_ip": r.get("ip", ""), "is_head_node": "node:__internal_head__" in r["total"],
        "state": "DEAD" if r["state"] == "DEAD" else "ALIVE",
        "state_message": None if r["state"] == "ALIVE" else r["state"].lower(), "node_name": r.get("host", ""), "resources_total": r["total"],
        "labels": {**(r.get("labels") or {}), "ray.io/node-id": r["id"]}, "start_time_ms": _milliseconds(r.get("started")), "end_time_ms": None,
    } for r in rows]  # fmt: skip


def _workers(rows: list[Row]) -> list[Row]:
    return [{
        "worker_id": worker_id(r["id"]), "is_alive": r["state"] != "DEAD", "worker_type": "WORKER", "node_id": r["node"], "ip": "127.0.0.1",
        "exit_type": None, "pid": r["pid"], "exit_detail": r.get("exit"), "start_time_ms": _milliseconds(r.get("started")),
        "end_time_ms": _milliseconds(r.get("ended")), "num_paused_threads": 0,
    } for r in rows]  # fmt: skip


def _jobs(rows: list[Row]) -> list[Row]:
    return [{
        "type": "DRIVER", "job_id": r["id"], "submission_id": None, "status": r["state"], "entrypoint": r.get("program", ""),
        "message": r.get("reason"), "driver_info": {"id": r["id"], "node_ip_address": "127.0.0.1", "pid": str(r.get("pid", ""))},
        "start_time": _milliseconds(r.get("started")), "end_time": _milliseconds(r.get("ended")), "metadata": {}, "runtime_env": {},
    } for r in rows]  # fmt: skip


def _groups(rows: list[Row]) -> list[Row]:
    return [{
        "placement_group_id": r["id"], "name": r.get("name", ""), "creator_job_id": r["job"], "state": r["state"], "stats": None,
        "bundles": [{"bundle_id": i, "node_id": b.get("node"), "unit_resources": b["resources"]} for i, b in enumerate(r["bundles"])],
    } for r in rows]  # fmt: skip


def _environments() -> list[Row]:
    """The environments that processes have now."""
    found: dict[tuple[str, str], Row] = {}
    for w in ask("workers", {"limit": common.RAY_MAX_LIMIT_FROM_DATA_SOURCE})["rows"]:
        if not w.get("env"):
            continue
        row = found.setdefault((w["node"], w["env"]), {
            "runtime_env": json.loads(w["env"]), "success": True, "creation_time_ms": None, "node_id": w["node"], "ref_cnt": 0, "error": None,
        })  # fmt: skip
        row["ref_cnt"] += 1
    return list(found.values())


_FAILURES = {"task_failed", "object_lost", "store_full", "misbehaved", "sink_failed", "actor_dead"}


def _event(number: int, e: Row) -> Row:
    words = [e["event"], *(e[k] for k in ("name", "id", "cause", "text") if e.get(k))]
    return {
        "severity": "ERROR" if e["event"] in _FAILURES else "INFO", "time": e["time"], "source_type": "WEFT", "message": " ".join(words),
        "event_id": str(number), "custom_fields": e,
    }  # fmt: skip


_KINDS: dict[StateResource, tuple[str, Callable[[list[Row]], list[Row]]]] = {
    StateResource.TASKS: ("tasks", _tasks),
    StateResource.ACTORS: ("actors", _actors),
    StateResource.OBJECTS: ("objects", _objects),
    StateResource.NODES: ("nodes", _nodes),
    StateResource.WORKERS: ("workers", _workers),
    StateResource.JOBS: ("jobs", _jobs),
    StateResource.PLACEMENT_GROUPS: ("groups", _groups),
}
