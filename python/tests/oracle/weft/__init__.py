"""A package weft whose core is genuine Ray; every module that is not here comes from python/src/weft."""

from __future__ import annotations

import importlib
import os

import ray
import ray.dag.class_node
import ray.dag.function_node

_src = os.path.join(os.path.dirname(__file__), "..", "..", "..", "src", "weft")
__path__ = [os.path.dirname(__file__), os.path.abspath(_src)]


def __getattr__(name):
    return getattr(ray, name)


# Not `from weft import …`, which would find Ray's modules of these names first.
dag = importlib.import_module("weft.dag")
util = importlib.import_module("weft.util")
runtime_env = importlib.import_module("weft.runtime_env")


# Ray's own bind() makes the nodes of its module: let it make those under test.
def _function_node(body, args, kwargs, options):
    return dag.function_node(ray.remote(body), args, kwargs, options)


def _class_node(cls, args, kwargs, options):
    return dag.class_node(ray.remote(cls), args, kwargs, options)


def _bind_method(self, *args, **kwargs):
    options = {} if self._num_returns in (None, 1) else {"num_returns": self._num_returns}
    return dag.method_node(self._actor, self._method_name, args, kwargs, options)


ray.dag.FunctionNode = ray.dag.function_node.FunctionNode = _function_node
ray.dag.ClassNode = ray.dag.class_node.ClassNode = _class_node
ray.actor.ActorMethod.bind = _bind_method

# Ray looks for classes of its own in the option scheduling_strategy: let ours be such.
for _module, _name in (
    ("placement_group", "PlacementGroup"),
    ("scheduling_strategies", "PlacementGroupSchedulingStrategy"),
):
    _ours = importlib.import_module(f"weft.util.{_module}")
    _theirs = importlib.import_module(f"ray.util.{_module}")
    _bases = (getattr(_ours, _name), getattr(_theirs, _name))
    setattr(_ours, _name, type(_name, _bases, {"__module__": _ours.__name__, "__hash__": _bases[0].__hash__}))
