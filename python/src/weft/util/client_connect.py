"""connect and disconnect: what init with an address of ray:// and shutdown do."""

from __future__ import annotations

import platform
from typing import Any, Optional

from weft import _api
from weft.job_config import JobConfig


def connect(
    conn_str: str, secure: bool = False, metadata: Optional[list[tuple[str, str]]] = None, connection_retries: int = 3,
    job_config: Optional[JobConfig] = None, namespace: Optional[str] = None, *, ignore_version: bool = False, _credentials: Any = None,
    ray_init_kwargs: Optional[dict[str, Any]] = None,
) -> dict[str, Any]:  # fmt: skip
    """Joins the cluster at ``HOST:PORT`` and says what is there. The connection is always TLS; the token is that of WEFT_TOKEN."""
    del secure, metadata, connection_retries, ignore_version, _credentials
    if _api.is_initialized():
        raise RuntimeError('Ray Client is already connected. Maybe you called ray.init("ray://<address>") twice by accident?')
    address = conn_str if "://" in conn_str else f"ray://{conn_str}"
    context = _api.init(address, job_config=job_config, namespace=namespace, **(ray_init_kwargs or {}))
    return {"num_clients": 1, "python_version": platform.python_version(), "ray_version": context.ray_version, "ray_commit": context.ray_commit}


def disconnect() -> None:
    """Ends the session; nothing happens if there is none."""
    _api.shutdown()
