"""inspect_serializability: finds what in an object cannot be pickled."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, Callable, Optional

import cloudpickle

_ADVICE = (
    "was found to be non-serializable. There may be multiple other undetected variables that were non-serializable. \n"
    "Consider either removing the instantiation/imports of these variables or moving the instantiation into the scope "
    "of the function/class. "
)


class FailureTuple:
    """One object that could not be pickled.

    ``obj`` is the object, ``path`` the names that lead to it, ``parent`` what holds it.
    """

    def __init__(self, obj: Any, path: tuple[str, ...], parent: Any) -> None:
        self.obj = obj
        self.path = path
        self.parent = parent

    def __repr__(self) -> str:
        name = self.path[-1] if self.path else "unknown"
        return f"FailTuple({name} [path={' -> '.join(self.path)}, obj={self.obj}, parent={self.parent}])"


class _Inspection:
    def __init__(self, out: Any) -> None:
        self._out = out
        self._level = 0
        self.failures: list[FailureTuple] = []

    def say(self, text: str) -> None:
        print("    " * self._level + text, file=self._out)

    @contextlib.contextmanager
    def _deeper(self) -> Iterator[None]:
        self._level += 1
        try:
            yield
        finally:
            self._level -= 1

    def check(self, obj: Any, depth: int, parent: Any, path: tuple[str, ...]) -> bool:
        """Whether obj can be pickled; if not, looks for the reason at most ``depth`` levels down."""
        try:
            cloudpickle.dumps(obj)
            return True
        except Exception as e:
            self.say(f"!!! FAIL serialization: {e}")
        if depth <= 0:
            self._add(obj, path, parent)
        elif inspect.isfunction(obj):
            self._check_parts(obj, depth, parent, path, self._closure(obj))
        else:
            self._check_parts(obj, depth, parent, path, self._members(obj))
        return False

    def _check_parts(self, obj: Any, depth: int, parent: Any, path: tuple[str, ...], parts: Iterator[tuple[str, Any]]) -> None:
        found = False
        for name, part in parts:
            with self._deeper():
                self.say(f"Serializing '{name}' {part}...")
                found |= not self.check(part, depth - 1, obj, (*path, name))
        if not found:
            self.say(
                f"WARNING: Did not find non-serializable object in {type(obj).__name__} instance. This may be because "
                "the object is only non-serializable when combined with other objects, or because cloudpickle and the "
                "traversal disagree. Try calling `weft.util.inspect_serializability` on individual attributes to "
                "isolate the cause."
            )
            self._add(obj, path, parent)

    def _closure(self, fn: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
        self.say(f"Inspecting closure of '{fn.__qualname__}':")
        scope = inspect.getclosurevars(fn)
        for kind, variables in (("global", scope.globals), ("nonlocal", scope.nonlocals)):
            if variables:
                self.say(f"Detected {len(variables)} {kind} variables. Checking serializability...")
                yield from variables.items()

    def _members(self, obj: Any) -> Iterator[tuple[str, Any]]:
        if inspect.isclass(obj):
            parts = [(n, v) for n, v in vars(obj).items() if not n.startswith("__")]
        elif isinstance(obj, dict):
            parts = [(repr(k), v) for k, v in obj.items()]
        elif isinstance(obj, (list, tuple, set, frozenset)):
            parts = [(f"[{i}]", v) for i, v in enumerate(obj)]
        else:
            parts = list(getattr(obj, "__dict__", {}).items())
        # Methods come first: what they close over says more than the object they belong to.
        yield from sorted(parts, key=lambda part: not inspect.isroutine(part[1]))

    def _add(self, obj: Any, path: tuple[str, ...], parent: Any) -> None:
        if not any(f.obj is obj for f in self.failures):
            self.failures.append(FailureTuple(obj, path, parent))


def inspect_serializability(
    base_obj: Any, name: Optional[str] = None, depth: int = 3, print_file: Optional[Any] = None
) -> tuple[bool, set[FailureTuple]]:
    """Says whether an object can be sent to tasks and actors, and prints what in it cannot.

    ``name`` heads the paths of what is found; ``depth`` is how many levels to look into; ``print_file`` is a file to
    print to instead of stdout. Returns (it can, the parts that cannot).
    """
    look = _Inspection(print_file)
    title = f"Checking Serializability of {base_obj}"
    rule = "=" * min(len(title), 80)
    for line in (rule, title, rule):
        look.say(line)
    ok = look.check(base_obj, depth, None, (name,) if name else ())
    if not ok:
        found = "\n".join(map(repr, look.failures))
        for line in (rule, f"Variable: \n\n\t{found}\n\n{_ADVICE}", rule):
            look.say(line)
    return ok, set(look.failures)
