"""Names and options of collective calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

unset_timeout_ms = timedelta(milliseconds=-1)


class Backend:
    """Names of backends. ``Backend("gloo")`` is the name in capitals; ValueError for one that is not known."""

    NCCL = "NCCL"
    GLOO = "GLOO"
    UNRECOGNIZED = "unrecognized"

    def __new__(cls, name: str) -> str:  # type: ignore[misc]
        from weft.util.collective.backend_registry import is_registered

        upper = name.upper()
        if upper not in (cls.NCCL, cls.GLOO) and not is_registered(upper):
            raise ValueError(f"Unrecognized backend: '{name}'. Only NCCL, GLOO and registered backends are supported")
        return upper


class ReduceOp(Enum):
    """How values are put together."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3


@dataclass
class AllReduceOptions:
    """Options of allreduce."""

    reduceOp: ReduceOp = ReduceOp.SUM
    timeout_ms: timedelta = field(default=unset_timeout_ms)


@dataclass
class BarrierOptions:
    """Options of barrier."""

    timeout_ms: timedelta = field(default=unset_timeout_ms)


@dataclass
class ReduceOptions:
    """Options of reduce; root_rank gets the result."""

    reduceOp: ReduceOp = ReduceOp.SUM
    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: timedelta = field(default=unset_timeout_ms)


@dataclass
class AllGatherOptions:
    """Options of allgather."""

    timeout_ms: timedelta = field(default=unset_timeout_ms)


@dataclass
class BroadcastOptions:
    """Options of broadcast; root_rank sends."""

    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: timedelta = field(default=unset_timeout_ms)


@dataclass
class ReduceScatterOptions:
    """Options of reducescatter."""

    reduceOp: ReduceOp = ReduceOp.SUM
    timeout_ms: timedelta = field(default=unset_timeout_ms)


@dataclass
class SendOptions:
    """Options of send."""

    dst_rank: int = 0
    dst_gpu_index: int = 0
    n_elements: int = 0
    timeout_ms: timedelta = field(default=unset_timeout_ms)


@dataclass
class RecvOptions:
    """Options of recv."""

    src_rank: int = 0
    src_gpu_index: int = 0
    n_elements: int = 0
    timeout_ms: timedelta = field(default=unset_timeout_ms)
