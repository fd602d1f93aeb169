"""``multiprocessing.Pool`` over the cluster: change the import and nothing else."""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError

from weft.util.multiprocessing.pool import Pool

__all__ = ["JoinableQueue", "Pool", "TimeoutError"]
