"""The functions of weft.util.collective. All but those that declare or ask are to be called in tasks and actors."""

from __future__ import annotations

import threading
from typing import Any

import weft
from weft.util.collective import backend_registry
from weft.util.collective.collective_group.base_collective_group import BaseGroup, make_group
from weft.util.collective.collective_group.hub_group import as_array, hub_name, start_hub
from weft.util.collective.types import (
    AllGatherOptions,
    AllReduceOptions,
    BarrierOptions,
    BroadcastOptions,
    RecvOptions,
    ReduceOp,
    ReduceOptions,
    ReduceScatterOptions,
    SendOptions,
)

_groups: dict[str, BaseGroup] = {}
_lock = threading.Lock()


def nccl_available() -> bool:
    """Whether NCCL can be used: not without a registered backend of that name."""
    return backend_registry.is_available("NCCL")


def gloo_available() -> bool:
    """Whether CPU collectives can be used: always."""
    return backend_registry.is_available("GLOO")


def is_backend_available(backend: str) -> bool:
    """Whether a backend is known and can be used in this process."""
    return backend_registry.is_available(backend)


def is_group_initialized(group_name: str = "default") -> bool:
    """Whether this process is in the group."""
    return group_name in _groups


def init_collective_group(world_size: int, rank: int, backend: str = "NCCL", group_name: str = "default", gloo_timeout: int = 30000) -> None:
    """Joins a group as ``rank`` of ``world_size``. ``gloo_timeout`` bounds each wait for others, in milliseconds.

    Raises RuntimeError outside of tasks and actors, for a backend that is not available, and if this process is in the
    group; ValueError for a rank or size that cannot be; AssertionError for an empty name.
    """
    _check_inside()
    cls = backend_registry.backend_class(backend)
    assert group_name, "The group name must not be empty."
    assert world_size > 0, "The world size must be greater than zero."
    assert 0 <= rank < world_size, f"The rank must be from 0 to {world_size - 1}, got {rank}."
    with _lock:
        if group_name in _groups:
            raise RuntimeError("Trying to initialize a group twice.")
        _groups[group_name] = make_group(cls, world_size, rank, group_name, gloo_timeout)


def create_collective_group(
    actors: list[Any],
    world_size: int,
    ranks: list[int],
    backend: str = "NCCL",
    group_name: str = "default",
    gloo_timeout: int = 30000,
) -> None:
    """Declares actors a group, from outside; each joins it with its first collective call.

    Raises RuntimeError unless there is one rank from 0 to world_size-1 for each actor, or if the group exists.
    """
    backend_registry.backend_class(backend)
    if len(ranks) != len(actors):
        raise RuntimeError(f"Each actor should correspond to one rank. Got '{len(ranks)}' ranks but '{len(actors)}' actors")
    if world_size <= 0:
        raise RuntimeError(f"World size must be greater than zero. Got '{world_size}'.")
    if set(ranks) != set(range(len(ranks))):
        raise RuntimeError(f"Ranks must be a permutation from 0 to '{len(ranks)}'. Got '{ranks}'.")
    if len(ranks) != world_size:
        raise RuntimeError(f"World size must be the number of actors. Got '{world_size}' and {len(actors)} actors.")
    if _find_hub(group_name) is not None:
        raise RuntimeError(f"Trying to initialize the group {group_name!r} twice.")
    by_id = {a._actor_id.hex(): r for a, r in zip(actors, ranks)}
    weft.get(start_hub(group_name, world_size, by_id, backend, gloo_timeout).declared.remote())


def destroy_collective_group(group_name: str = "default") -> None:
    """Leaves a group; does nothing if this process is not in it."""
    _check_inside()
    with _lock:
        group = _groups.pop(group_name, None)
    if group is not None:
        group.destroy_group()


def get_rank(group_name: str = "default") -> int:
    """This process's rank, -1 if it is not in the group."""
    _check_inside()
    return _groups[group_name].rank if group_name in _groups else -1


def get_collective_group_size(group_name: str = "default") -> int:
    """How many processes the group has, -1 if this one is not in it."""
    _check_inside()
    return _groups[group_name].world_size if group_name in _groups else -1


def allreduce(tensor: Any, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Sets ``tensor`` on each process to the reduction of all; all have the same shape and type."""
    as_array(tensor)
    get_group_handle(group_name).allreduce([tensor], AllReduceOptions(reduceOp=op))


def barrier(group_name: str = "default") -> None:
    """Waits until each process of the group has called it."""
    get_group_handle(group_name).barrier(BarrierOptions())


def reduce(tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Sets ``tensor`` on ``dst_rank`` to the reduction of all; the others' stay as they are."""
    as_array(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, dst_rank)
    group.reduce([tensor], ReduceOptions(reduceOp=op, root_rank=dst_rank))


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Sets ``tensor`` on each process to that of ``src_rank``."""
    as_array(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, src_rank)
    group.broadcast([tensor], BroadcastOptions(root_rank=src_rank))


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Sets ``tensor_list[i]`` to the tensor of rank i, on each process.

    Raises RuntimeError unless there is one tensor for each rank.
    """
    as_array(tensor)
    group = get_group_handle(group_name)
    _check_list(group, tensor_list, "allgather")
    group.allgather([tensor_list], [tensor], AllGatherOptions())


def reducescatter(tensor: Any, tensor_list: list[Any], group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Sets ``tensor`` on rank i to the reduction of all processes' ``tensor_list[i]``.

    Raises RuntimeError unless there is one tensor for each rank.
    """
    as_array(tensor)
    group = get_group_handle(group_name)
    _check_list(group, tensor_list, "reducescatter")
    group.reducescatter([tensor], [tensor_list], ReduceScatterOptions(reduceOp=op))


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Sends ``tensor`` to a process and returns once its recv has it; messages come in order."""
    as_array(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, dst_rank)
    if dst_rank == group.rank:
        raise RuntimeError(f"The destination rank '{dst_rank}' is self.")
    group.send([tensor], SendOptions(dst_rank=dst_rank))


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Sets ``tensor`` to the next one that a process sends to this one."""
    as_array(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, src_rank)
    if src_rank == group.rank:
        raise RuntimeError(f"The destination rank '{src_rank}' is self.")
    group.recv([tensor], RecvOptions(src_rank=src_rank))


def synchronize(gpu_id: int) -> None:
    """Waits for a GPU's collectives. Raises RuntimeError: there are none of CPU tensors."""
    _no_gpus()


def allreduce_multigpu(tensor_list: list[Any], group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """allreduce over several GPUs a process. Raises RuntimeError."""
    _no_gpus()


def reduce_multigpu(
    tensor_list: list[Any],
    dst_rank: int = 0,
    dst_tensor: int = 0,
    group_name: str = "default",
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """reduce over several GPUs a process. Raises RuntimeError."""
    _no_gpus()


def broadcast_multigpu(tensor_list: list[Any], src_rank: int = 0, src_tensor: int = 0, group_name: str = "default") -> None:
    """broadcast over several GPUs a process. Raises RuntimeError."""
    _no_gpus()


def allgather_multigpu(output_tensor_lists: list[Any], input_tensor_list: list[Any], group_name: str = "default") -> None:
    """allgather over several GPUs a process. Raises RuntimeError."""
    _no_gpus()


def reducescatter_multigpu(
    output_tensor_list: list[Any],
    input_tensor_lists: list[Any],
    group_name: str = "default",
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """reducescatter over several GPUs a process. Raises RuntimeError."""
    _no_gpus()


def send_multigpu(tensor: Any, dst_rank: int, dst_gpu_index: int, group_name: str = "default", n_elements: int = 0) -> None:
    """send to one GPU of a process. Raises RuntimeError."""
    _no_gpus()


def recv_multigpu(tensor: Any, src_rank: int, src_gpu_index: int, group_name: str = "default", n_elements: int = 0) -> None:
    """recv from one GPU of a process. Raises RuntimeError."""
    _no_gpus()


def get_group_handle(group_name: str = "default") -> BaseGroup:
    """This process's place in a group; joins one that create_collective_group declared.

    Raises RuntimeError outside of tasks and actors, and if this process is in no such group.
    """
    _check_inside()
    with _lock:
        if group_name not in _groups:
            _groups[group_name] = _join_declared(group_name)
        return _groups[group_name]


def _join_declared(group_name: str) -> BaseGroup:
    hub = _find_hub(group_name)
    if hub is not None:
        world_size, ranks, backend, timeout_ms = weft.get(hub.declared.remote())
        rank = ranks.get(weft.get_runtime_context().get_actor_id())
        if rank is not None:
            return make_group(backend_registry.backend_class(backend), world_size, rank, group_name, timeout_ms)
    raise RuntimeError(f"The collective group '{group_name}' is not initialized in the process.")


def _find_hub(group_name: str) -> Any:
    try:
        return weft.get_actor(hub_name(group_name))
    except ValueError:
        return None


def _check_inside() -> None:
    if weft.get_runtime_context().worker.mode != weft.WORKER_MODE:
        raise RuntimeError("The collective APIs shall be only used inside an actor or task.")


def _check_rank(group: BaseGroup, rank: int) -> None:
    if rank < 0:
        raise ValueError(f"rank '{rank}' is negative.")
    if rank >= group.world_size:
        raise ValueError(f"rank '{rank}' must be less than world size '{group.world_size}'")


def _check_list(group: BaseGroup, tensors: Any, what: str) -> None:
    if not isinstance(tensors, list):
        raise RuntimeError(f"The input must be a list of tensors. Got '{type(tensors)}'.")
    for t in tensors:
        as_array(t)
    if len(tensors) != group.world_size:
        raise RuntimeError(f"The length of the tensor list operands to {what} must be equal to world_size.")


def _no_gpus() -> None:
    raise RuntimeError("Multigpu calls require NCCL and Cupy, which this backend of CPU tensors does not have.")
