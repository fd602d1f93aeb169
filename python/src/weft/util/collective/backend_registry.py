"""Backends by name."""

from __future__ import annotations

from weft.util.collective.collective_group.base_collective_group import BaseGroup

_backends: dict[str, type[BaseGroup]] = {}


def register_collective_backend(name: str, group_cls: type[BaseGroup]) -> None:
    """Makes a backend known in this process; each process that uses it must do so.

    Raises TypeError unless ``group_cls`` is a BaseGroup, ValueError if the name is taken by another class.
    """
    if not (isinstance(group_cls, type) and issubclass(group_cls, BaseGroup)):
        raise TypeError(f"{group_cls} is not a subclass of BaseGroup")
    if _backends.setdefault(name.upper(), group_cls) is not group_cls:
        raise ValueError(f"Backend {name.upper()} already registered")


def is_registered(name: str) -> bool:
    """Whether a backend of that name is known."""
    _add_built_in()
    return name.upper() in _backends


def backend_class(name: str) -> type[BaseGroup]:
    """The class of a backend. Raises RuntimeError if it is not known or cannot be used here."""
    if not is_registered(name):
        raise RuntimeError(
            f"Backend {name.upper()} is not registered. Please register it using register_collective_backend('{name.upper()}', YourBackendClass)."
        )
    cls = _backends[name.upper()]
    if not cls.check_backend_availability():
        raise RuntimeError(f"Backend {name.upper()} is not available in this process.")
    return cls


def is_available(name: str) -> bool:
    """Whether a backend is known and can be used in this process."""
    return is_registered(name) and _backends[name.upper()].check_backend_availability()


def _add_built_in() -> None:
    from weft.util.collective.collective_group.hub_group import HubGroup

    _backends.setdefault("GLOO", HubGroup)
