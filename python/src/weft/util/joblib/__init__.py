"""joblib over the cluster: ``register_weft()``, then ``joblib.parallel_backend("weft")``."""

from __future__ import annotations

__all__ = ["register_ray", "register_weft"]


def register_ray() -> None:
    """Makes the joblib backend "ray" known. Raises ImportError if joblib is not installed."""
    _register("ray")


def register_weft() -> None:
    """Makes the joblib backend "weft" known: the same one under its own name."""
    _register("weft")


def _register(name: str) -> None:
    try:
        from joblib.parallel import register_parallel_backend
    except ImportError:
        raise ImportError("joblib is not installed: pip install joblib") from None
    from weft.util.joblib.backend import WeftBackend

    register_parallel_backend(name, WeftBackend)
