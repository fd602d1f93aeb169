"""Ray and Weft in turn, each in a process of its own: ``compare.py RAY_PYTHON WEFT_PYTHON ROUNDS OUT.md [WORKLOAD.py]``.

Adds what each round measured to OUT.jsonl, and writes a table of medians and ratios of all rounds of this commit there. So a few
rounds can be measured at a time.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LESS_IS_BETTER = (", s", ", MB")


def left(mark):
    """Whether processes that a measurement started still run."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def measure(python, workload, name):
    here = Path(__file__).parent / workload
    mark = f"BENCH_OF={os.getpid()}"
    environ = {**os.environ, "BENCH_OF": str(os.getpid())}
    done = subprocess.run([python, str(here), name], stdout=subprocess.PIPE, text=True, timeout=600, env=environ)
    while left(mark.encode()):  # Ray's workers take half a minute to go, and would be in the next one's way
        time.sleep(0.2)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"{name} failed with status {done.returncode}")
    return json.loads(lines[-1])


def main():
    ray, weft, rounds, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    workload = sys.argv[5] if len(sys.argv) > 5 else "workload.py"
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    with open(out.with_suffix(".jsonl"), "a") as raw:
        for i in range(rounds):
            for name, python in (("ray", ray), ("weft", weft)):
                figures = measure(python, workload, name)
                raw.write(json.dumps({"commit": commit, "name": name, "load": os.getloadavg()[0], "figures": figures}) + "\n")
                raw.flush()
                print(f"round {i + 1} of {rounds}: {name}", file=sys.stderr)
    got: dict[str, list[dict[str, float]]] = {"ray": [], "weft": []}
    for line in out.with_suffix(".jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["commit"] == commit:
            got[row["name"]].append(row["figures"])
    lines = [
        f"Ray 2.60.0 and Weft {commit}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, {datetime.date.today()};"
        f" {len(got['weft'])} rounds in turn, medians. Above 1× Weft is better.",
        "",
        "| what | Ray | Weft | |",
        "|---|---|---|---|",
    ]
    for what in got["ray"][0]:
        a, b = (statistics.median(r[what] for r in got[name]) for name in ("ray", "weft"))
        ratio = a / b if what.endswith(LESS_IS_BETTER) else b / a
        lines.append(f"| {what} | {a:,.4g} | {b:,.4g} | {ratio:.1f}× |")
    out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


main()
