"""Dask collections computed by the cluster: ``dask.compute(x, scheduler=ray_dask_get)`` or ``enable_dask_on_ray()``.

Needs dask of 2024.11 or later, whose graphs are made of task objects.
"""

from __future__ import annotations

from weft.util.dask.callbacks import ProgressBarCallback, RayDaskCallback, local_ray_callbacks
from weft.util.dask.scheduler import disable_dask_on_ray, enable_dask_on_ray, ray_dask_get, ray_dask_get_sync

__all__ = [
    "ProgressBarCallback",
    "RayDaskCallback",
    "disable_dask_on_ray",
    "enable_dask_on_ray",
    "local_ray_callbacks",
    "ray_dask_get",
    "ray_dask_get_sync",
]
