"""The key-value store of genuine Ray."""

from __future__ import annotations

from ray.experimental import internal_kv as _r


def put(key, value, overwrite, namespace):
    return _r._internal_kv_put(key, value, overwrite, namespace=namespace)


def get(key, namespace):
    return _r._internal_kv_get(key, namespace=namespace)


def exists(key, namespace):
    return _r._internal_kv_exists(key, namespace=namespace)


def delete(key, by_prefix, namespace):
    return _r._internal_kv_del(key, del_by_prefix=by_prefix, namespace=namespace)


def list(prefix, namespace):
    return _r._internal_kv_list(prefix, namespace=namespace)
