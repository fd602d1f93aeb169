"""Strategies, placement groups, metrics, annotations, logging, serialisation: what programs import by name."""

from __future__ import annotations

import pickle
import threading
import warnings

import pytest

NODE = "ab" * 28


@pytest.fixture(scope="module")
def s(load):
    return load("util.scheduling_strategies")


def test_node_affinity(s):
    a = s.NodeAffinitySchedulingStrategy(NODE, soft=True, _spill_on_unavailable=True)
    assert (a.node_id, a.soft, a._spill_on_unavailable, a._fail_on_unavailable) == (NODE, True, True, False)
    with pytest.raises(ValueError, match="Invalid node_id 'abc'"):
        s.NodeAffinitySchedulingStrategy("abc", soft=False)
    with pytest.raises(ValueError, match="_spill_on_unavailable"):
        s.NodeAffinitySchedulingStrategy(NODE, soft=False, _spill_on_unavailable=True)
    with pytest.raises(ValueError, match="_fail_on_unavailable"):
        s.NodeAffinitySchedulingStrategy(NODE, soft=True, _fail_on_unavailable=True)


def test_node_labels(s):
    n = s.NodeLabelSchedulingStrategy({"a": s.In("1", "2")}, soft={"b": s.Exists()})
    assert n.hard[0].key == "a" and n.hard[0].operator.values == ["1", "2"] and n.soft[0].key == "b"
    s.NodeLabelSchedulingStrategy({"a": s.NotIn("1"), "b": s.DoesNotExist()})
    for wrong, text in [
        (lambda: s.NodeLabelSchedulingStrategy({}), "cannot both be empty"),
        (lambda: s.NodeLabelSchedulingStrategy([1]), "must be a map"),
        (lambda: s.NodeLabelSchedulingStrategy({1: s.In("a")}), "must be of type str"),
        (lambda: s.NodeLabelSchedulingStrategy({}, soft={"a": 1}), "of the soft parameter must be one of"),
        (lambda: s.In(), "non-empty tuple"),
        (lambda: s.NotIn(2), "NotIn operator must be str"),
    ]:
        with pytest.raises(ValueError, match=text):
            wrong()


def test_placement_group(ray, s):
    u = ray.util
    g = u.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="SPREAD", name="mine")
    assert g.wait(30) and ray.get(g.ready()).id == g.id
    assert g.bundle_specs == [{"CPU": 1}, {"CPU": 1}] and g.bundle_count == 2 and not g.is_empty
    assert u.get_placement_group("mine") == g and hash(pickle.loads(pickle.dumps(g))) == hash(g)
    row = u.placement_group_table(g)
    assert (row["placement_group_id"], row["name"], row["strategy"], row["state"]) == (
        g.id.hex(),
        "mine",
        "SPREAD",
        "CREATED",
    )
    assert row["bundles"] == {0: {"CPU": 1.0}, 1: {"CPU": 1.0}} and g.id.hex() in u.placement_group_table()

    @ray.remote(num_cpus=1)
    def current():
        from importlib import import_module

        now = import_module(ray.__name__).util.get_current_placement_group()
        return now and now.id.hex()

    inside = s.PlacementGroupSchedulingStrategy
    assert u.get_current_placement_group() is None
    assert ray.get(current.options(scheduling_strategy=inside(g)).remote()) == g.id.hex()
    captured = inside(g, placement_group_capture_child_tasks=True)
    assert ray.get(current.options(scheduling_strategy=captured).remote()) == g.id.hex()
    u.remove_placement_group(g)
    u.remove_placement_group(g)
    assert u.placement_group_table(g)["state"] == "REMOVED"


def test_placement_group_that_does_not_fit(ray):
    g = ray.util.placement_group([{"CPU": 1000}])
    assert not g.wait(0) and not g.wait(0.05)
    assert ray.util.placement_group_table(g)["state"] == "PENDING"
    ray.util.remove_placement_group(g)
    with pytest.raises(ValueError, match="Failed to look up placement group"):
        ray.util.get_placement_group("no such")
    with pytest.raises(ValueError, match="non-empty"):
        ray.util.get_placement_group("")


@pytest.mark.parametrize(
    ("bundles", "options", "text"),
    [
        ([], {}, "empty list"),
        (({"CPU": 1},), {}, "must be a list"),
        ([{}], {}, "only 0 values"),
        ([{"CPU": 0}], {}, "only 0 values"),
        ([{"CPU": "a"}], {}, "list of resource dictionaries"),
        ([1], {}, "list of resource dictionaries"),
        ([{"CPU": 1}], {"strategy": "x"}, "Invalid placement group strategy x"),
        ([{"CPU": 1}], {"lifetime": "x"}, "either `None` or 'detached'"),
        ([{"CPU": 1}], {"_soft_target_node_id": NODE}, "only works with STRICT_PACK"),
        ([{"CPU": 1}], {"_soft_target_node_id": "x", "strategy": "STRICT_PACK"}, "Invalid hex ID"),
        ([{"CPU": 1}], {"bundle_label_selector": []}, "should equal the length"),
        ([{"CPU": 1}], {"bundle_label_selector": {"a": "b"}}, "must be a list"),
        ([{"CPU": 1}], {"bundle_label_selector": [{"a": 1}]}, "string dictionary"),
        ([{"CPU": 1}], {"bundle_label_selector": [{"a b": "b"}]}, "Invalid label key name"),
        ([{"CPU": 1}], {"bundle_label_selector": [{"a": "in()"}]}, "Invalid label selector value"),
        ([{"CPU": 1}], {"topology_strategy": {"a": "PACK"}}, "not supported yet"),
        ([{"CPU": 1}], {"topology_strategy": {"a": "STRICT_PACK"}, "strategy": "PACK"}, "cannot both"),
        ([{"CPU": 1}], {"topology_strategy": {"a": "STRICT_PACK", "b": "STRICT_PACK"}}, "at most one"),
    ],
)
def test_placement_group_checks_its_arguments(ray, bundles, options, text):
    with pytest.raises(ValueError, match=text):
        ray.util.placement_group(bundles, **options)


def test_metrics(ray, load):
    m = load("util.metrics")
    c = m.Counter("calls", "how many", tag_keys=("kind", "zone"))
    assert c.set_default_tags({"kind": "a"}) is c
    assert c.info == {
        "name": "calls",
        "description": "how many",
        "tag_keys": ("kind", "zone"),
        "default_tags": {"kind": "a"},
    }
    c.inc(tags={"zone": "1"})
    c.inc(2.5, {"zone": "1", "kind": "b"})
    for wrong, error, text in [
        (lambda: c.inc(), ValueError, "Missing value for tag key"),
        (lambda: c.inc(0, {"zone": "1"}), ValueError, "must be >0"),
        (lambda: c.inc("1", {"zone": "1"}), TypeError, "int or float"),
        (lambda: c.inc(1, {"zone": 1}), TypeError, "Tag values must be str"),
        (lambda: c.set_default_tags({"q": "1"}), ValueError, "Unrecognized tag key q"),
        (lambda: m.Counter(""), ValueError, "Empty name"),
        (lambda: m.Counter("a", tag_keys="x"), TypeError, "tuple"),
        (lambda: m.Counter("a", tag_keys=(1,)), TypeError, "Tag keys must be str"),
        (lambda: m.Histogram("h"), ValueError, "boundaries"),
        (lambda: m.Histogram("h", boundaries=[1, 0]), ValueError, "index 1"),
        (lambda: m.Gauge("g").set("x"), TypeError, "int or float"),
    ]:
        with pytest.raises(error, match=text):
            wrong()
    m.Gauge("g").set(-2)
    m.Gauge("g").set(None)
    h = m.Histogram("h", boundaries=[1, 2])
    h.observe(1.5)
    assert h.info["boundaries"] == [1, 2]
    assert pickle.loads(pickle.dumps(c)).info["tag_keys"] == ("kind", "zone")
    with pytest.warns(UserWarning, match="Invalid metric name: a-b"):
        m.Counter("a-b").inc()


def test_annotations(load):
    a = load("util.annotations")

    @a.PublicAPI(stability="beta")
    def f():
        """Doc."""

    assert "PublicAPI (beta)" in f.__doc__ and f._annotated == "f"

    @a.Deprecated(message="Use g.", warning=True)
    def g():
        return 3

    with pytest.warns(DeprecationWarning, match="Use g"):
        assert g() == 3

    @a.Deprecated
    def quiet():
        return 4

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quiet() == 4 and "DEPRECATED" in quiet.__doc__
    with pytest.raises(AssertionError):
        a.PublicAPI(stability="z")
    with pytest.raises(ValueError, match="Unknown kwargs"):
        a.Deprecated(foo=1)(f)

    @a.DeveloperAPI
    class K:
        """Doc."""

    assert K._annotated_type is a.AnnotationType.DEVELOPER_API


def test_log_once(ray):
    assert [ray.util.log_once("test key"), ray.util.log_once("test key")] == [True, False]


def test_inspect_serializability(ray, capsys):
    lock = threading.Lock()

    def fn():
        return lock

    ok, found = ray.util.inspect_serializability(fn, name="fn")
    assert not ok and {f.path for f in found} == {("fn", "lock")} and next(iter(found)).obj is lock
    out = capsys.readouterr().out
    assert "Checking Serializability of" in out and "Serializing 'lock'" in out and "fn -> lock" in out

    class Holder:
        def __init__(self):
            self.fine = {"x": 3}
            self.lock = threading.Lock()

    ok, found = ray.util.inspect_serializability(Holder())
    assert not ok and [f.path for f in found] == [("lock",)]
    assert ray.util.inspect_serializability(3) == (True, set())


def test_register_serializer(ray):
    class Odd:
        def __init__(self, x):
            self.x, self.lock = x, threading.Lock()

    ray.util.register_serializer(Odd, serializer=lambda o: o.x, deserializer=lambda x: Odd(x))
    assert ray.get(ray.put(Odd(4))).x == 4
    ray.util.deregister_serializer(Odd)
    with pytest.raises(TypeError):
        ray.put(Odd(4))


def test_list_named_actors(ray):
    @ray.remote(num_cpus=0)
    class A:
        pass

    a = A.options(name="findme").remote()
    ray.get(a.__ray_ready__.remote())
    assert "findme" in ray.util.list_named_actors()
    assert "findme" in [d["name"] for d in ray.util.list_named_actors(all_namespaces=True)]
    ray.kill(a)


def test_internal_kv(ray, load):
    kv = load("experimental.internal_kv")
    assert kv._internal_kv_initialized()
    assert not kv._internal_kv_put("ka", "1", namespace="t")
    assert kv._internal_kv_put("ka", "2", overwrite=False, namespace="t")
    assert kv._internal_kv_get("ka", namespace="t") == b"1" and kv._internal_kv_get("ka") is None
    assert kv._internal_kv_put(b"ka", b"2", namespace=b"t")
    assert kv._internal_kv_exists("ka", namespace="t") and kv._internal_kv_list("k", namespace="t") == [b"ka"]
    kv._internal_kv_put("kb", "1", namespace="t")
    assert kv._internal_kv_del("k", del_by_prefix=True, namespace="t") == 2
    assert kv._internal_kv_del("ka", namespace="t") == 0


def test_host(ray, load):
    assert ray.util.get_node_ip_address().count(".") == 3
    assert load("util.accelerators").NVIDIA_H100 == "H100"


def test_timer(load):
    t = load("util.timer")._Timer(window_size=2)
    for delta in (1.0, 2.0, 4.0):
        t.push(delta)
        t.push_units_processed(3)
    assert t.mean == 3.0 and t.mean_units_processed == 3.0 and t.mean_throughput == 1.0 and t.has_units_processed()
