"""Graphs of bound calls."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def dag(ray, load):
    return load("dag")


@pytest.fixture(scope="module")
def add(ray):
    @ray.remote
    def add(a, b=1):
        return a + b

    return add


@pytest.fixture(scope="module")
def counter(ray):
    @ray.remote(num_cpus=0)
    class Counter:
        def __init__(self, n=0):
            self.n = n

        def inc(self, k=1):
            self.n += k
            return self.n

        @ray.method(num_returns=2)
        def two(self):
            return self.n, self.n + 1

    return Counter


def test_functions(ray, add):
    node = add.bind(1, add.bind(2, b=3))
    assert ray.get(node.execute()) == 6
    assert ray.get(node.execute()) == 6
    assert node.get_args()[0] == 1 and node.get_kwargs() == {} and len(node.get_stable_uuid()) == 32
    assert ray.get(add.options(name="x").bind(1).execute()) == 2


def test_nodes_within_containers_become_refs(ray, add):
    @ray.remote
    def total(parts, named):
        return sum(ray.get(parts)) + ray.get(named["x"])

    node = total.bind([add.bind(1), add.bind(2)], {"x": add.bind(3)})
    assert ray.get(node.execute()) == 9


def test_input_is_the_one_argument(ray, dag, add):
    with dag.InputNode() as x:
        node = add.bind(x, 10)
    assert ray.get(node.execute(5)) == 15
    assert ray.get(node.execute(ray.put(7))) == 17


@pytest.mark.parametrize(
    ("parts", "args", "kwargs"),
    [
        (lambda x: (x[0], x[1]), (5, 6), {}),
        (lambda x: (x.a, x.b), (), {"a": 5, "b": 6}),
        (lambda x: (x[0], x.b), (5,), {"b": 6}),
        (lambda x: (x["a"], x["b"]), ({"a": 5, "b": 6},), {}),
    ],
)
def test_parts_of_the_input(ray, dag, add, parts, args, kwargs):
    with dag.InputNode() as x:
        node = add.bind(*parts(x))
    assert ray.get(node.execute(*args, **kwargs)) == 11


def test_wrong_inputs(dag, add, counter):
    with pytest.raises(AssertionError):
        add.bind(dag.InputNode(), 1).execute(1)
    with dag.InputNode() as x:
        node = add.bind(x.a, x.b)
        with pytest.raises(KeyError):
            node.execute(a=1)
        with pytest.raises(ValueError, match="cannot be used as args"):
            counter.bind(x)
        with dag.InputNode() as y, pytest.raises(AssertionError, match="only have one unique InputNode"):
            add.bind(x, y).execute(1)


def test_several_outputs_share_what_they_depend_on(ray, dag, add, counter):
    handle = counter.remote(0)
    with dag.InputNode() as x:
        once = handle.inc.bind(x)
        node = dag.MultiOutputNode([once, add.bind(once, once)])
    assert ray.get(node.execute(3)) == [3, 6]
    assert dag.MultiOutputNode([]).execute() == []
    with pytest.raises(ValueError):
        dag.MultiOutputNode(3)


def test_class_node_makes_a_new_actor_each_time(ray, add, counter):
    actor = counter.bind(10)
    first = actor.inc.bind(5)
    assert ray.get(first.execute()) == 15
    assert ray.get(first.execute()) == 15
    second = actor.inc.bind(first)
    assert ray.get(second.execute()) == 30
    assert ray.get(add.bind(counter.bind(1).inc.bind(), counter.bind(2).inc.bind()).execute()) == 5
    with pytest.raises(AttributeError, match="nope"):
        actor.nope  # noqa: B018
    assert ray.get(actor.execute().inc.remote()) == 11


def test_method_of_an_actor_that_exists(ray, dag, counter):
    handle = counter.remote(100)
    with dag.InputNode() as x:
        node = handle.inc.bind(x)
    assert ray.get(node.execute(1)) == 101
    assert ray.get(node.execute(2)) == 103
    a, b = handle.two.bind()
    assert ray.get([a.execute(), b.execute()]) == [103, 104]


def test_a_node_is_no_function(add):
    node = add.bind(1)
    with pytest.raises(AttributeError, match="execute"):
        node.remote()
    with pytest.raises(TypeError):
        node(1)


def test_errors_come_through(ray, add):
    with pytest.raises(TypeError):
        ray.get(add.bind(1, "a").execute())


def test_apply_recursive(ray, add):
    names = []
    add.bind(1, add.bind(2)).apply_recursive(lambda n: names.append(type(n).__name__) or n)
    assert names == ["FunctionNode", "FunctionNode"]
