"""weft._metrics: what is recorded is handed over once."""

from __future__ import annotations

import os

import pytest

if os.environ.get("WEFT_ORACLE") == "ray":
    pytest.skip("Ray has no such module", allow_module_level=True)

from weft import _metrics
from weft._metrics import Sample, flush, record


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    flush(lambda samples: None)
    monkeypatch.setattr(_metrics, "dropped", 0)


def taken():
    out: list[Sample] = []
    n = flush(out.extend)
    assert n == len(out)
    return out


def test_counters_are_increments():
    record("c", "counter", 1, {"a": "x"}, "text")
    record("c", "counter", 2.5, {"a": "x"})
    record("c", "counter", 1, {"a": "y"})
    got = {s.tags["a"]: s for s in taken()}
    assert (got["x"].value, got["y"].value, got["x"].description) == (3.5, 1, "text")
    assert taken() == []
    record("c", "counter", 1, {"a": "x"})
    assert [s.value for s in taken()] == [1]


def test_gauges_are_the_latest_value():
    record("g", "gauge", 3, {})
    record("g", "gauge", -1, {})
    assert [s.value for s in taken()] == [-1]


def test_histograms_count_by_bucket():
    for v in (0.5, 1, 1.5, 9):
        record("h", "histogram", v, {}, boundaries=(1, 2))
    (s,) = taken()
    assert (s.counts, s.value, s.boundaries) == ([2, 1, 1], 12, (1.0, 2.0))


def test_what_could_not_be_sent_is_kept():
    def fail(samples):
        record("c", "counter", 5, {})
        record("g", "gauge", 5, {})
        raise OSError

    record("c", "counter", 1, {})
    record("g", "gauge", 1, {})
    record("h", "histogram", 1, {}, boundaries=(1,))
    with pytest.raises(OSError):
        flush(fail)
    assert {s.name: s.value for s in taken()} == {"c": 6, "g": 5, "h": 1}


def test_series_are_bounded(monkeypatch):
    monkeypatch.setattr(_metrics, "MAX_SERIES", 2)
    for i in range(4):
        record("c", "counter", 1, {"i": str(i)})
    assert len(taken()) == 2 and _metrics.dropped == 2
