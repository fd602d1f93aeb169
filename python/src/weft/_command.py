"""The command ``ray``, for scripts and people who use it by that name: what it asks for is done by the binary or by weft.util.state.

The distribution ray (python/ray-shim) installs it. Flags that set up processes which Weft does not have are taken and ignored.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Callable, Optional

from weft import _address, _node
from weft.exceptions import RayError
from weft.util.state.exception import RayStateApiException

_PORT = 6379  # of a head that is not told another
_IGNORED = (
    "--dashboard-host", "--dashboard-port", "--dashboard-agent-grpc-port", "--dashboard-agent-listen-port", "--dashboard-grpc-port",
    "--include-dashboard", "--include-log-monitor", "--min-worker-port", "--max-worker-port", "--worker-port-list", "--object-manager-port",
    "--node-manager-port", "--metrics-export-port", "--runtime-env-agent-port", "--ray-client-server-port", "--system-config",
    "--autoscaling-config", "--tracing-startup-hook", "--redis-username", "--redis-password", "--redis-shard-ports", "--gcs-server-port",
    "--plasma-directory", "--node-name", "--cgroup-path", "--system-reserved-cpu", "--system-reserved-memory", "--temp-dir", "--storage",
)  # fmt: skip
_IGNORED_SWITCHES = (
    "--disable-usage-stats",
    "--enable-resource-isolation",
    "--no-monitor",
    "--no-redirect-output",
    "--ray-debugger-external",
    "--verbose",
)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Does what the command line says, and returns the exit status."""
    args = _parser().parse_args(arguments)
    do: Callable[[Any], int] = args.do
    try:
        return do(args)
    except (OSError, ImportError, RuntimeError, ValueError, RayError, RayStateApiException) as error:
        print(f"ray: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    import weft

    parser = argparse.ArgumentParser("ray", description="Weft, by the commands of Ray. The command weft has more.")
    parser.add_argument("--version", action="version", version=f"ray, version {weft.__version__} (Weft)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _start_parser(commands.add_parser("start", help="start a node", allow_abbrev=False))
    stop = _command(commands, "stop", _stop, "end this user's nodes on this machine")
    stop.add_argument("-f", "--force", action="store_true", help="kill those that do not answer, and do not wait for tasks")
    stop.add_argument("-g", "--grace-period", type=int, default=30, help="seconds that running tasks may take")
    status = _command(commands, "status", _status, "what the cluster has and does")
    status.add_argument("-v", "--verbose", action="store_true")
    status.add_argument("--address")
    _state_parsers(commands)
    timeline = _command(commands, "timeline", _timeline, "write what happened, for chrome://tracing")
    timeline.add_argument("--address")
    memory = _command(commands, "memory", lambda a: _weft("list", "objects", *_at(a)), "list objects")
    memory.add_argument("--address")
    health = _command(commands, "health-check", _health, "exit with 0 if a node answers")
    health.add_argument("--address")
    health.add_argument("--component", help=argparse.SUPPRESS)
    drain = _command(commands, "drain-node", lambda a: _weft("drain", a.node_id, *_at(a)), "have a node leave its cluster")
    for flag in ("--address", "--reason", "--reason-message", "--deadline-remaining-seconds"):
        drain.add_argument(flag, help=None if flag == "--address" else argparse.SUPPRESS)
    drain.add_argument("--node-id", required=True)
    kill = _command(commands, "kill-actor", _kill_actor, "end an actor by its name")
    kill.add_argument("name")
    kill.add_argument("--namespace")
    kill.add_argument("--address")
    return parser


def _command(commands: Any, name: str, do: Callable[[Any], int], about: str) -> Any:
    parser = commands.add_parser(name, help=about, allow_abbrev=False)
    parser.set_defaults(do=do)
    return parser


# Nodes.


def _start_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(do=_start)
    p.add_argument("--head", action="store_true", help="begin a cluster")
    p.add_argument("--address", help="HOST:PORT of a head to join")
    p.add_argument("--port", type=int, help=f"where a head listens (default {_PORT}); 0 is any")
    p.add_argument("--node-ip-address", help="the address at which other nodes reach this one (default 127.0.0.1)")
    p.add_argument("--num-cpus", type=float)
    p.add_argument("--num-gpus", type=float)
    p.add_argument("--resources", default="{}", help="custom resources, as JSON")
    p.add_argument("--labels", default="", help="KEY=VALUE,KEY=VALUE")
    p.add_argument("--labels-file", help="a file of YAML with labels")
    p.add_argument("--memory", type=int, help="bytes that tasks may ask for")
    p.add_argument("--object-store-memory", type=int, help="bytes")
    p.add_argument("--object-spilling-directory")
    p.add_argument("--block", action="store_true", help="stay in the foreground")
    for flag in _IGNORED:
        p.add_argument(flag, help=argparse.SUPPRESS)
    for flag in _IGNORED_SWITCHES:
        p.add_argument(flag, action="store_true", help=argparse.SUPPRESS)


def _start(args: Any) -> int:
    if args.head == bool(args.address):
        raise ValueError("want --head, to begin a cluster, or --address=HOST:PORT of one")
    folder = next(folder for folder in _folders() if not _used(folder))
    if args.head and folder != _folders()[0]:
        raise ConnectionError(f"a node of this user runs here already, in {_folders()[0]}; use it, or end it with `ray stop`")
    flags = ["start", "--dir", folder, *_node_flags(args)]
    if args.block:
        os.execv(_node._binary(), ["weft", *flags])
    done = subprocess.run([_node._binary(), *flags, "--detach"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        return done.returncode
    joined = next((line.split("--address", 1)[1].split()[0] for line in done.stdout.splitlines() if line.split()[:1] == ["join"]), args.address)
    host = joined.rsplit(":", 1)[0]
    print(f"Local node IP: {host}\n\n{'-' * 20}\nRay runtime started.\n{'-' * 20}\n")
    if args.head:
        print(f"To add another node on this machine:\n  ray start --address='{joined}'")
        if host.startswith("127."):
            print("For nodes on other machines, start the head with --node-ip-address, the address at which they reach it.")
        else:
            print("On another machine that needs WEFT_TOKEN, which `weft token create` prints here.")
    print("To connect to this cluster:\n  import ray\n  ray.init()\nTo end this machine's nodes:\n  ray stop")
    return 0


def _node_flags(args: Any) -> list[str]:
    from weft._api import _flags

    try:
        resources = dict(json.loads(args.resources))
    except (TypeError, ValueError):
        raise ValueError(f"--resources must be a JSON object such as '{{\"fast\": 1}}', not {args.resources}") from None
    if args.memory:
        resources["memory"] = args.memory
    labels: dict[str, Any] = {}
    if args.labels_file:
        import yaml

        with open(args.labels_file) as f:
            labels = yaml.safe_load(f) or {}
        if not isinstance(labels, dict):
            raise ValueError(f"{args.labels_file} must be a mapping of labels to values")
    flags = _flags(args.num_cpus, args.num_gpus, resources, labels, args.object_store_memory)
    if args.labels:
        flags.append(f"--labels={args.labels}")
    ip = args.node_ip_address or "127.0.0.1"
    if args.head:
        flags += ["--head", f"--listen={ip}:{_PORT if args.port is None else args.port}"]
    else:
        flags.append(f"--address={args.address}")
        if args.node_ip_address:
            flags.append(f"--listen={ip}:0")
    if args.object_spilling_directory:
        flags.append(f"--spill-dir={args.object_spilling_directory}")
    return flags


def _folders() -> list[str]:
    """Where this user's nodes are on this machine: the first is where programs look."""
    first = os.path.dirname(_address._default())
    return [first, *(f"{first}-{i}" for i in range(2, 100))]


def _used(folder: str) -> bool:
    """Whether a node lives there: one that was killed leaves its files."""
    return _address._answers(os.path.join(folder, _address._SOCKET))


def _stop(args: Any) -> int:
    folders = [folder for folder in _folders() if _used(folder)]
    if not folders:
        print("Did not find any active Ray processes: no node of this user runs on this machine.")
        return 0
    failed = 0
    for folder in reversed(folders):  # the head last
        flags = ["--force"] if args.force else ["--grace", f"{args.grace_period}s"]
        failed += bool(_weft("stop", "--address", folder, *flags, quiet=True))
    print(f"Stopped {len(folders) - failed} of {len(folders)} nodes.")
    return 1 if failed else 0


def _status(args: Any) -> int:
    rows = _rows("nodes", args)
    print(f"======== Cluster status: {datetime.datetime.now()} ========\nNode status\n{'-' * 63}\nActive:")
    living = [row for row in rows if row["state"] != "DEAD"]
    for row in living:
        print(f" 1 {row['id']}" + (f" ({row['state']}, {row.get('ip', '')}, process {row.get('pid', '?')} on {row['host']})" if args.verbose else ""))
    print(f"Pending:\n (no pending nodes)\nRecent failures:\n (no failures)\n\nResources\n{'-' * 63}\nTotal Usage:")
    _usage(living, " ")
    if args.verbose:
        for row in living:
            print(f"\nNode: {row['id']}\n Usage:")
            _usage([row], "  ")
    queued = sum(row.get("queued", 0) for row in living)
    print(f"\nTotal Demands:\n {f'{queued} tasks wait; `weft why ID` says for what' if queued else '(no resource demands)'}")
    return 0


def _usage(rows: list[Any], indent: str) -> None:
    for name in sorted({name for row in rows for name in row["total"] if not name.startswith("node:")}):
        total = sum(row["total"].get(name, 0) for row in rows)
        used = total - sum(row["free"].get(name, 0) for row in rows)
        if name == "object_store_memory":
            used = sum(row["store"]["used"] for row in rows)
        if "memory" in name:
            print(f"{indent}{used / (1 << 30):.2f}GiB/{total / (1 << 30):.2f}GiB {name}")
        else:
            print(f"{indent}{float(used)}/{float(total)} {name}")


def _health(args: Any) -> int:
    return 1 if _weft("status", *_at(args), quiet=True) else 0


def _kill_actor(args: Any) -> int:
    weft = _connect(args)
    weft.kill(weft.get_actor(args.name, namespace=args.namespace or ""))
    return 0


def _timeline(args: Any) -> int:
    name = f"/tmp/ray-timeline-{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}.json"
    failed = _weft("timeline", "--output", name, *_at(args), quiet=True)
    if not failed:
        print(f"Trace file written to {name}")
    return failed


# State.


def _state_parsers(commands: Any) -> None:
    lists = _command(commands, "list", _list, "list actors, tasks, nodes and so on")
    lists.add_argument("resource", type=lambda s: s.replace("-", "_"))
    lists.add_argument("-f", "--filter", action="append", default=[], help="KEY=VALUE or KEY!=VALUE")
    lists.add_argument("--limit", type=int, default=100)
    lists.add_argument("--detail", action="store_true")
    gets = _command(commands, "get", _get, "one of them, by its id")
    gets.add_argument("resource", type=lambda s: s.replace("-", "_").rstrip("s") + "s")
    gets.add_argument("id")
    summary = _command(commands, "summary", _summary, "counts of tasks, actors or objects")
    summary.add_argument("resource", choices=["tasks", "actors", "objects"])
    for p in (lists, gets, summary):
        p.add_argument("--address")
        p.add_argument("--timeout", type=int, default=30, help=argparse.SUPPRESS)
        p.add_argument("--format", choices=["default", "table", "json", "yaml"], default="default")


def _list(args: Any) -> int:
    _connect(args)
    from weft.util import state

    filters = []
    for text in args.filter:
        key, sign, value = text.partition("!=") if "!=" in text else text.partition("=")
        if not sign:
            raise ValueError(f"--filter {text}: want KEY=VALUE or KEY!=VALUE")
        filters.append((key.strip(), sign, value.strip()))
    rows = _of(state, "list_", args.resource)(filters=filters, limit=args.limit, detail=args.detail)
    columns = type(rows[0]).list_columns(args.detail) if rows else ()
    rows = [{key: value for key, value in row.asdict().items() if key in columns} for row in rows]
    if args.format in ("json", "yaml"):
        return _print(rows, args.format)
    print(f"\n======== List: {datetime.datetime.now()} ========\nStats:\n{'-' * 30}\nTotal: {len(rows)}\n\nTable:\n{'-' * 30}")
    _table(rows)
    return 0


def _get(args: Any) -> int:
    _connect(args)
    from weft.util import state

    name = args.resource if args.resource == "objects" else args.resource[:-1]
    found = _of(state, "get_", name)(args.id)
    if not found:
        raise ValueError(f"Resource with id={args.id} not found in the cluster.")
    rows = found if isinstance(found, list) else [found]
    return _print([row.asdict() for row in rows], "json" if args.format == "json" else "yaml")


def _of(state: Any, verb: str, resource: str) -> Any:
    function = getattr(state, verb + resource, None)
    if function is None:
        raise ValueError(f"no such resource: {resource}; there are actors, tasks, nodes, jobs, objects, workers, placement-groups, runtime-envs")
    return function


def _summary(args: Any) -> int:
    _connect(args)
    from weft.util import state

    found = getattr(state, f"summarize_{args.resource}")()
    return _print(found, "json" if args.format == "json" else "yaml")


def _print(value: Any, how: str) -> int:
    if how == "yaml":
        try:
            import yaml
        except ImportError:  # which JSON is, too
            pass
        else:
            print(yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False), end="")
            return 0
    print(json.dumps(value, default=str, indent=1))
    return 0


def _table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("No resource in the cluster")
        return
    columns = list(rows[0])
    cells = [
        ["", *(c.upper() for c in columns)],
        *([str(i), *("" if row[c] is None else str(row[c]) for c in columns)] for i, row in enumerate(rows)),
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns) + 1)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


# Ways to a node.


def _at(args: Any) -> list[str]:
    """--address of the binary, which takes a node's folder or socket; HOST:PORT is a cluster's, whose node on this machine is meant."""
    address = args.address or os.environ.get("RAY_ADDRESS") or ""
    local = address and address != "auto" and (os.sep in address or "://" in address)
    return ["--address", address] if local else []


def _weft(*arguments: str, quiet: bool = False) -> int:
    return subprocess.run([_node._binary(), *arguments], stdout=subprocess.DEVNULL if quiet else None, check=False).returncode


def _rows(what: str, args: Any) -> list[Any]:
    done = subprocess.run([_node._binary(), "list", what, "--format=json", *_at(args)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ConnectionError("no cluster answers; `ray start --head` starts one")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _connect(args: Any) -> Any:
    import weft

    weft.init(address=args.address or "auto", log_to_driver=False, namespace=getattr(args, "namespace", None))
    return weft


if __name__ == "__main__":
    sys.exit(main())
