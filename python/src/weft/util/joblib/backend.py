"""The joblib backend: joblib's own handling of pools, on weft.util.multiprocessing.Pool."""

from __future__ import annotations

from typing import Any, Optional

from joblib import Parallel
from joblib._parallel_backends import FallbackToBackend, MultiprocessingBackend, SequentialBackend

import weft
from weft.util.multiprocessing import Pool


class WeftBackend(MultiprocessingBackend):  # type: ignore[misc]
    """Runs joblib's batches on a pool of actors; ``ray_remote_args`` are options of those actors."""

    def __init__(
        self,
        nesting_level: Optional[int] = None,
        inner_max_num_threads: Optional[int] = None,
        ray_remote_args: Optional[dict[str, Any]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **kwargs)
        self._remote_args = ray_remote_args

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Optional[Parallel] = None,
        prefer: Optional[str] = None,
        require: Optional[str] = None,
        ray_remote_args: Optional[dict[str, Any]] = None,
        **_: Any,
    ) -> int:
        """Starts the pool and returns how many processes it has; one process is no pool but the caller itself."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self._pool = Pool(n_jobs, ray_remote_args=ray_remote_args or self._remote_args)
        self.parallel = parallel
        return n_jobs

    def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
        """``n_jobs``, where -1 is all CPUs of the cluster, -2 all but one, and so on. Raises ValueError for 0."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        if not weft.is_initialized():
            weft.init()
        return max(1, int(weft.cluster_resources().get("CPU", 1)) + 1 + n_jobs)
