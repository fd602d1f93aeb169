"""``client("HOST:PORT").connect()``: an older way to say ``init("ray://HOST:PORT")``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, Optional

from weft import _api
from weft.job_config import JobConfig

ClientContext = _api.Context


class ClientBuilder:
    """What a connection is to be; ``connect`` makes it."""

    def __init__(self, address: Optional[str]) -> None:
        self.address = address
        self._job_config = JobConfig()
        self._warns = True

    def env(self, env: Mapping[str, Any]) -> ClientBuilder:
        """Sets the runtime environment of its tasks and actors."""
        self._job_config.set_runtime_env(env)
        return self

    def namespace(self, namespace: str) -> ClientBuilder:
        """Sets the namespace of its named actors."""
        self._job_config.set_ray_namespace(namespace)
        return self

    def connect(self) -> ClientContext:
        """Joins the cluster, as init does; the context ends with ``disconnect()`` or as a ``with`` does."""
        if self._warns:
            warnings.warn(f"client(...).connect() is deprecated: use init({self.address!r})", DeprecationWarning, stacklevel=2)
        return _api.init(self.address, job_config=self._job_config)


def client(address: Optional[str] = None, _deprecation_warn_enabled: bool = True) -> ClientBuilder:
    """Describes a connection to a cluster at ``HOST:PORT``, or with ``"local"`` or None to what init would join or start."""
    if address is None:
        address = os.environ.get("RAY_ADDRESS")
    if address is not None and address != "local" and "://" not in address and not address.startswith("/"):
        address = f"ray://{address}"
    builder = ClientBuilder(address)
    builder._warns = _deprecation_warn_enabled
    return builder
