"""Makes ``import ray`` the modules of Weft: the same objects, under a second name."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Optional


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``ray`` and ``ray.x`` as ``weft`` and ``weft.x``."""

    def find_spec(self, name: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None) -> Optional[importlib.machinery.ModuleSpec]:
        if name != "ray" and not name.startswith("ray."):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        weft = "weft" + spec.name[len("ray") :]
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


def install() -> None:
    """Has this process, and what it starts, find Weft under the name of Ray."""
    os.environ["WEFT_AS_RAY"] = "1"
    if not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
