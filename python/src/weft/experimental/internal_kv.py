"""The cluster's small key-value store, for libraries.

Keys and values are bytes; str is encoded as UTF-8. A namespace keeps the keys of one library apart from others'.
"""

from __future__ import annotations

from typing import Any, Optional, Union

Text = Union[str, bytes]


def _internal_kv_initialized() -> bool:
    """Whether there is a cluster to ask."""
    import weft

    return bool(weft.is_initialized())


def _internal_kv_put(key: Text, value: Text, overwrite: bool = True, *, namespace: Optional[Text] = None) -> bool:
    """Sets a key, unless it is there and ``overwrite`` is false; returns whether it was there."""
    return bool(_store().put(_bytes(key), _bytes(value), overwrite, _namespace(namespace)))


def _internal_kv_get(key: Text, *, namespace: Optional[Text] = None) -> Optional[bytes]:
    """The value of a key; None if it is not there."""
    value: Optional[bytes] = _store().get(_bytes(key), _namespace(namespace))
    return value


def _internal_kv_exists(key: Text, *, namespace: Optional[Text] = None) -> bool:
    """Whether a key is there."""
    return bool(_store().exists(_bytes(key), _namespace(namespace)))


def _internal_kv_del(key: Text, *, del_by_prefix: bool = False, namespace: Optional[Text] = None) -> int:
    """Removes a key, or with ``del_by_prefix`` every key that begins so; returns how many were removed."""
    return int(_store().delete(_bytes(key), del_by_prefix, _namespace(namespace)))


def _internal_kv_list(prefix: Text, *, namespace: Optional[Text] = None) -> list[bytes]:
    """The keys that begin with ``prefix``."""
    return list(_store().list(_bytes(prefix), _namespace(namespace)))


def _store() -> Any:
    from weft import _kv

    return _kv


def _bytes(text: Text) -> bytes:
    if isinstance(text, str):
        return text.encode()
    if not isinstance(text, bytes):
        raise TypeError(f"Keys, values and namespaces are str or bytes, got {type(text)}.")
    return text


def _namespace(namespace: Optional[Text]) -> bytes:
    return b"" if namespace is None else _bytes(namespace)
