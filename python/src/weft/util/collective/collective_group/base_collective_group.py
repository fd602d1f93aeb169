"""BaseGroup: what a collective backend implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Optional

from weft.util.collective.types import (
    AllGatherOptions,
    AllReduceOptions,
    BarrierOptions,
    BroadcastOptions,
    RecvOptions,
    ReduceOptions,
    ReduceScatterOptions,
    SendOptions,
)

Tensors = list[Any]
"""The tensors of this process, one for each of its devices; the functions of weft.util.collective give one."""


class BaseGroup(ABC):
    """One process's place in a group. Methods work in place and return once this process's part is done."""

    def __init__(self, world_size: int, rank: int, group_name: str) -> None:
        self._world_size = world_size
        self._rank = rank
        self._group_name = group_name

    @property
    def rank(self) -> int:
        """This process's number in the group, from 0."""
        return self._rank

    @property
    def world_size(self) -> int:
        """How many processes the group has."""
        return self._world_size

    @property
    def group_name(self) -> str:
        """The group's name."""
        return self._group_name

    def destroy_group(self) -> None:  # noqa: B027
        """Leaves the group; by default nothing needs to be done."""

    @classmethod
    def backend(cls) -> str:
        """The backend's name."""
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def check_backend_availability(cls) -> bool:
        """Whether this process can use the backend."""

    @abstractmethod
    def allreduce(self, tensor: Tensors, allreduce_options: AllReduceOptions = AllReduceOptions()) -> None:  # noqa: B008
        """Sets tensor to the reduction of all processes' tensors."""

    @abstractmethod
    def barrier(self, barrier_options: BarrierOptions = BarrierOptions()) -> None:  # noqa: B008
        """Waits for all processes."""

    @abstractmethod
    def reduce(self, tensor: Tensors, reduce_options: ReduceOptions = ReduceOptions()) -> None:  # noqa: B008
        """Sets the root's tensor to the reduction of all processes' tensors."""

    @abstractmethod
    def allgather(
        self,
        tensor_list: list[Tensors],
        tensor: Tensors,
        allgather_options: AllGatherOptions = AllGatherOptions(),  # noqa: B008
    ) -> None:
        """Sets tensor_list to all processes' tensors."""

    @abstractmethod
    def broadcast(self, tensor: Tensors, broadcast_options: BroadcastOptions = BroadcastOptions()) -> None:  # noqa: B008
        """Sets tensor to the root's."""

    @abstractmethod
    def reducescatter(
        self,
        tensor: Tensors,
        tensor_list: list[Tensors],
        reducescatter_options: ReduceScatterOptions = ReduceScatterOptions(),  # noqa: B008
    ) -> None:
        """Sets tensor to the reduction of what all processes have for this rank in tensor_list."""

    @abstractmethod
    def send(self, tensor: Tensors, send_options: SendOptions) -> None:
        """Sends tensor to one process."""

    @abstractmethod
    def recv(self, tensor: Tensors, recv_options: RecvOptions) -> None:
        """Sets tensor to what one process sends."""


def make_group(cls: type[BaseGroup], world_size: int, rank: int, name: str, timeout_ms: Optional[int]) -> BaseGroup:
    """A group of a backend; only the built-in one takes a timeout."""
    from weft.util.collective.collective_group.hub_group import HubGroup

    if issubclass(cls, HubGroup):
        return cls(world_size, rank, name, timeout_ms)
    return cls(world_size, rank, name)
