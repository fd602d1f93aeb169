"""Marks that say how stable a name is: ``PublicAPI``, ``DeveloperAPI`` and ``Deprecated``.

Each may be used bare (``@PublicAPI``) or with options (``@PublicAPI(stability="alpha")``). A mark adds a paragraph to
the docstring and three attributes: ``_annotated``, ``_annotated_type`` and ``_annotated_api_group``.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from enum import Enum
from typing import Any, Callable, Optional, TypeVar

T = TypeVar("T")

STABILITIES = ("stable", "beta", "alpha")
_DEPRECATED = "This API is deprecated and may be removed in future releases."
_SUPPRESS = 'Set the environment variable PYTHONWARNINGS="ignore::DeprecationWarning" to hide this warning.'


class AnnotationType(Enum):
    """What kind of mark a name has."""

    PUBLIC_API = "PublicAPI"
    DEVELOPER_API = "DeveloperAPI"
    DEPRECATED = "Deprecated"
    UNKNOWN = "Unknown"


class RayDeprecationWarning(DeprecationWarning):
    """A name that will go away was used."""


def PublicAPI(*args: Any, **kwargs: Any) -> Any:
    """Marks what users may rely on.

    Options: ``stability`` is "stable" (the default), "beta" or "alpha"; ``api_group`` (default "Others") sorts
    documents. Raises AssertionError for another stability.
    """
    if _is_bare(args, kwargs):
        return _mark(args[0], AnnotationType.PUBLIC_API)
    stability = kwargs.get("stability", "stable")
    assert stability in STABILITIES, stability
    group = kwargs.get("api_group", "Others")

    def wrap(obj: T) -> T:
        if stability != "stable":
            text = f"This API is in {stability} and may change before becoming stable."
            _add_paragraph(obj, f"**PublicAPI ({stability}):** {text}")
        return _mark(obj, AnnotationType.PUBLIC_API, group)

    return wrap


def DeveloperAPI(*args: Any, **kwargs: Any) -> Any:
    """Marks what libraries may use, and what may change from one minor release to the next."""

    def wrap(obj: T) -> T:
        _add_paragraph(obj, "**DeveloperAPI:** This API may change across minor releases.")
        return _mark(obj, AnnotationType.DEVELOPER_API, kwargs.get("api_group", "Others"))

    return wrap(args[0]) if _is_bare(args, kwargs) else wrap


def Deprecated(*args: Any, **kwargs: Any) -> Any:
    """Marks what will go away.

    Options: ``message`` says what to use instead; ``warning=True`` also emits a RayDeprecationWarning at each call
    (of a class: at each construction). Raises ValueError for another option.
    """
    if _is_bare(args, kwargs):
        return Deprecated()(args[0])
    options = dict(kwargs)
    message = options.pop("message", None)
    warn = bool(options.pop("warning", False))
    if options:
        raise ValueError(f"Unknown kwargs: {options.keys()}")

    def wrap(obj: Any) -> Any:
        lines = [".. warning::", "", f"    **DEPRECATED**: {_DEPRECATED}"]
        _add_paragraph(obj, "\n".join(lines + ([f"    {message}"] if message else [])))
        _mark(obj, AnnotationType.DEPRECATED)
        return _warn_when_used(obj, message) if warn else obj

    return wrap


def _is_bare(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return len(args) == 1 and not kwargs and callable(args[0])


def _mark(obj: T, kind: AnnotationType, group: str = "Others") -> T:
    o: Any = obj
    o._annotated = o.__name__
    o._annotated_type = kind
    o._annotated_api_group = group
    return obj


def _is_annotated(obj: Any) -> bool:
    # A subclass inherits the attributes; only the class that was marked has its own name in them.
    return hasattr(obj, "_annotated") and obj._annotated == getattr(obj, "__name__", None)


def _get_annotation_type(obj: Any) -> Optional[str]:
    return obj._annotated_type.value if _is_annotated(obj) else None


def _add_paragraph(obj: Any, text: str) -> None:
    doc = obj.__doc__ or ""
    indent = min((len(li) - len(li.lstrip()) for li in doc.splitlines()[1:] if li.strip()), default=0)
    pad = " " * indent
    body = "\n".join(pad + line if line else "" for line in text.split("\n"))
    obj.__doc__ = f"{doc.rstrip()}\n\n{body}\n{pad}"


def _warn_when_used(obj: Any, message: Optional[str]) -> Any:
    text = "\n".join(filter(None, (f"{_DEPRECATED} {_SUPPRESS}", message)))
    is_class = inspect.isclass(obj)
    target: Callable[..., Any] = obj.__init__ if is_class else obj

    @functools.wraps(target)
    def warned(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(text, RayDeprecationWarning, stacklevel=2)
        return target(*args, **kwargs)

    if not is_class:
        return warned
    obj.__init__ = warned
    return obj
