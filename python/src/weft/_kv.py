"""Keys and values of the node, for experimental.internal_kv: an actor that outlives the program has them."""

from __future__ import annotations

from typing import Any, Optional

import weft


class _Store:
    def __init__(self) -> None:
        self._values: dict[tuple[bytes, bytes], bytes] = {}

    def put(self, key: bytes, value: bytes, overwrite: bool, namespace: bytes) -> bool:
        known = (namespace, key) in self._values
        if overwrite or not known:
            self._values[namespace, key] = value
        return known

    def get(self, key: bytes, namespace: bytes) -> Optional[bytes]:
        return self._values.get((namespace, key))

    def delete(self, key: bytes, by_prefix: bool, namespace: bytes) -> int:
        gone = self.list(key, namespace) if by_prefix else [key] if (namespace, key) in self._values else []
        for k in gone:
            del self._values[namespace, k]
        return len(gone)

    def list(self, prefix: bytes, namespace: bytes) -> Any:
        return sorted(k for n, k in self._values if n == namespace and k.startswith(prefix))


def _store() -> Any:
    options = {"name": "kv", "namespace": "weft-internal", "lifetime": "detached", "get_if_exists": True, "num_cpus": 0}
    return weft.remote(_Store).options(**options).remote()


def put(key: bytes, value: bytes, overwrite: bool, namespace: bytes) -> bool:
    """Sets a key; returns whether it was there before. Without ``overwrite`` it then stays as it is."""
    return bool(weft.get(_store().put.remote(key, value, overwrite, namespace)))


def get(key: bytes, namespace: bytes) -> Optional[bytes]:
    """The value of a key, or None."""
    value: Optional[bytes] = weft.get(_store().get.remote(key, namespace))
    return value


def exists(key: bytes, namespace: bytes) -> bool:
    """Whether a key is there."""
    return get(key, namespace) is not None


def delete(key: bytes, by_prefix: bool, namespace: bytes) -> int:
    """Removes a key, or all that begin with it; returns how many were there."""
    return int(weft.get(_store().delete.remote(key, by_prefix, namespace)))


def list(prefix: bytes, namespace: bytes) -> Any:
    """The keys that begin so, sorted."""
    return weft.get(_store().list.remote(prefix, namespace))
