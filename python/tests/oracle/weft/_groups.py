"""Placement groups of genuine Ray, as the hooks that weft.util.placement_group asks for."""

from __future__ import annotations

import importlib

import ray

_pg = importlib.import_module("ray.util.placement_group")  # the attribute of that name is the function


def _group(id):
    return _pg.PlacementGroup(ray.PlacementGroupID(id))


def create(bundles, layout, name, detached, selectors):
    lifetime = "detached" if detached else None
    return _pg.placement_group(bundles, layout, name, lifetime, bundle_label_selector=selectors).id.binary()


def ready_ref(id):
    return _group(id).ready()


def wait(id, timeout):
    return _group(id).wait(timeout)


def remove(id):
    _pg.remove_placement_group(_group(id))


def lookup(name):
    try:
        return _pg.get_placement_group(name).id.binary()
    except ValueError:
        return None


def table(id):
    return _pg.placement_group_table(None if id is None else _group(id))
