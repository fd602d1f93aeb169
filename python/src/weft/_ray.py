"""Makes ``import ray`` the modules of Weft: the same objects, under a second name.

With WEFT_RAY_OVERLAY=1, and where genuine Ray is installed too, a module that Weft does not have is Ray's own, running on Weft's
Core. That goes as far as Ray's Python does: of its compiled part, ``ray._raylet``, they get what _compiled has, and other modules
that are compiled are refused.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Optional

OVERLAY = "WEFT_RAY_OVERLAY"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``ray`` and ``ray.x`` as ``weft`` and ``weft.x``."""

    def find_spec(self, name: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None) -> Optional[importlib.machinery.ModuleSpec]:
        if name != "ray" and not name.startswith("ray."):
            return None
        if os.environ.get(OVERLAY) and not _is_ours(_ours(name)):
            return _genuine(name)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        weft = _ours(spec.name)
        try:
            module = importlib.import_module(weft)
        except ModuleNotFoundError as error:
            if error.name != weft:
                raise
            raise ModuleNotFoundError(f"Weft has no module for {spec.name!r} yet", name=spec.name) from None
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = sys.modules[module.__name__].__spec__ = self._spec  # import has put ray's there
        # What the package has imported is known under both names now: an import of it later would put the module where the
        # package may have something else of that name, as ray.util has the function placement_group.
        for name in [n for n in sys.modules if n.startswith(module.__name__ + ".")]:
            sys.modules.setdefault("ray" + name[len("weft") :], sys.modules[name])


def _ours(name: str) -> str:
    if name == "ray._raylet" and os.environ.get(OVERLAY):
        return "weft._compiled"
    return "weft" + name[len("ray") :]


def _is_ours(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # nor what it would be in
        return False


def _genuine(name: str) -> importlib.machinery.ModuleSpec:
    """Where genuine Ray has a module that is Python."""
    parts = name.split(".")
    for folder in sys.path:
        root = os.path.join(folder or os.getcwd(), "ray")
        if not os.path.isdir(os.path.join(root, "_private")):  # every version has that, and ray-shim has not
            continue
        brought = os.path.join(root, "thirdparty_files")  # what its modules expect to be there
        if os.path.isdir(brought) and brought not in sys.path:
            sys.path.append(brought)
        spec = importlib.machinery.PathFinder.find_spec(name, [os.path.join(root, *parts[1:-1])])
        if spec is None:
            raise ModuleNotFoundError(f"neither Weft nor the Ray in {root} has a module {name!r}", name=name)
        if isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
            raise ModuleNotFoundError(f"{name!r} is a compiled part of Ray, which does not run on Weft", name=name)
        return spec
    raise ModuleNotFoundError(f"Weft has no module for {name!r}, and there is no genuine Ray in sys.path for {OVERLAY} to take it from", name=name)


def install() -> None:
    """Has this process, and what it starts, find Weft under the name of Ray."""
    os.environ["WEFT_AS_RAY"] = "1"
    if not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
