"""Accelerators: which of them a task or an actor has, and the variables that show them to its libraries."""

from __future__ import annotations

import os
from typing import Any, Optional, Union

_VARIABLES = {
    "TPU": "TPU_VISIBLE_CHIPS",
    "neuron_cores": "NEURON_RT_VISIBLE_CORES",
    "NPU": "ASCEND_RT_VISIBLE_DEVICES",
    "HPU": "HABANA_VISIBLE_MODULES",
    "RBLN": "RBLN_DEVICES",
    "FURIOSA": "FURIOSA_DEVICES",
    "MBLT": "QBRUNTIME_VISIBLE_DEVICES",
    "TTNPU": "TT_VISIBLE_DEVICES",
}
NAMES = ("GPU", *_VARIABLES)
"""The resources that are made of devices, as the node has them (internal/resource)."""

# Where Ray's opt-out is not RAY_EXPERIMENTAL_NOSET_ and the variable.
_OPT_OUT = {"RBLN": "RBLN_RT_VISIBLE_DEVICES", "MBLT": "MBLT_RT_VISIBLE_DEVICES", "TTNPU": "TENSTORRENT_VISIBLE_DEVICES"}

_assigned: dict[str, list[int]] = {}  # what runs here has
_originals: dict[str, Optional[str]] = {}  # variables as they were


def _variable(name: str) -> str:
    if name != "GPU":
        return _VARIABLES[name]
    amd = os.path.exists("/dev/kfd") and not os.path.exists("/proc/driver/nvidia")
    return "HIP_VISIBLE_DEVICES" if amd else "CUDA_VISIBLE_DEVICES"


def assign(devices: Any) -> None:
    """Shows the devices of an Execute to what runs next in this process, and no others; without any, what was visible at first."""
    given = {d.resource: list(d.numbers) for d in devices}
    for name in {*given, *_assigned}:
        variable = _variable(name)
        original = _originals.setdefault(variable, os.environ.get(variable))
        if name not in given and original is None:
            os.environ.pop(variable, None)
        elif name not in given:
            os.environ[variable] = str(original)
        elif os.environ.get(f"RAY_EXPERIMENTAL_NOSET_{_OPT_OUT.get(name, variable)}", "") not in ("1", "true", "True"):
            os.environ[variable] = ",".join(_visible(name, given[name]))
    _assigned.clear()
    _assigned.update(given)


def assigned() -> bool:
    """Whether what ran here last had devices."""
    return bool(_assigned)


def _visible(name: str, numbers: list[int]) -> list[str]:
    """The ids of a node's devices by number: if the node was itself shown some, they are among those."""
    original = _originals.get(_variable(name))
    if not original:
        return [str(n) for n in numbers]
    ids = original.split(",")
    return [ids[n] for n in numbers] if all(n < len(ids) for n in numbers) else ids


def ids(name: str) -> list[str]:
    """The ids of the devices that what runs here has of a kind."""
    return _visible(name, _assigned.get(name, []))


def gpu_ids() -> Union[list[int], list[str]]:
    """As ``ids("GPU")``: numbers, unless the node was shown only some of its machine's."""
    return ids("GPU") if _originals.get(_variable("GPU")) else list(_assigned.get("GPU", []))
