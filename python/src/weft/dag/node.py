"""DAGNode, what all nodes share, and one execution of a graph."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

if TYPE_CHECKING:
    from weft.dag.compiled import CompiledDAG

T = TypeVar("T")


class Run:
    """One execution: the input, and what each node became."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.input_node: Optional[DAGNode] = None
        self._made: dict[str, Any] = {}

    def value(self, node: DAGNode) -> Any:
        """What the node became: a ref, an actor's handle, or a part of the input. Each node runs once."""
        key = node._uuid
        if key not in self._made:
            self._made[key] = node._run(self)
        return self._made[key]

    def resolve(self, obj: Any) -> Any:
        """``obj`` with each node in it replaced by its value."""
        return replace_nodes(obj, self.value)


def replace_nodes(obj: Any, fn: Callable[[DAGNode], Any]) -> Any:
    """``obj`` with ``fn(node)`` for each node in it; looks into lists, tuples, sets and dicts, and copies those."""
    if isinstance(obj, DAGNode):
        return fn(obj)
    if isinstance(obj, (list, set, frozenset)):
        return type(obj)(replace_nodes(o, fn) for o in obj)
    if isinstance(obj, tuple):
        parts = [replace_nodes(o, fn) for o in obj]
        return type(obj)(*parts) if hasattr(obj, "_fields") else type(obj)(parts)
    if type(obj) is dict:
        return {replace_nodes(k, fn): replace_nodes(v, fn) for k, v in obj.items()}
    return obj


class DAGNode:
    """A call that was bound and not made."""

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Optional[dict[str, Any]] = None,
        others: Optional[dict[str, Any]] = None,
    ) -> None:
        self._bound_args = args
        self._bound_kwargs = kwargs
        self._bound_options = options or {}
        self._others = others or {}
        self._uuid = uuid.uuid4().hex

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Makes all calls of the graph and returns this node's ref (or actor, or list of refs).

        The arguments are what InputNode stands for. Raises AssertionError if the graph has two InputNodes, or one
        that was not made in a ``with`` block.
        """
        return Run(args, kwargs).value(self)

    def experimental_compile(self, **options: Any) -> CompiledDAG:
        """A graph to be executed often. The options of Ray's compiled graphs are accepted and have no effect."""
        from weft.dag.compiled import CompiledDAG

        return CompiledDAG(self)

    def get_args(self) -> tuple[Any, ...]:
        """The arguments that were bound."""
        return self._bound_args

    def get_kwargs(self) -> dict[str, Any]:
        """The keyword arguments that were bound."""
        return dict(self._bound_kwargs)

    def get_options(self) -> dict[str, Any]:
        """The options of the call."""
        return dict(self._bound_options)

    def get_other_args_to_resolve(self) -> dict[str, Any]:
        """What else the node depends on, by name: the actor of a method, the input of an attribute."""
        return dict(self._others)

    def get_stable_uuid(self) -> str:
        """The node's id, 32 hex digits; copies made by apply_recursive keep it."""
        return self._uuid

    def apply_recursive(self, fn: Callable[[DAGNode], T]) -> T:
        """Rebuilds the graph from its leaves: each node is copied with its children replaced and given to ``fn``."""
        made: dict[str, Any] = {}

        def visit(node: DAGNode) -> Any:
            if node._uuid not in made:
                made[node._uuid] = fn(node._copy(visit))
            return made[node._uuid]

        result: T = visit(self)
        return result

    def traverse_and_apply(self, fn: Callable[[DAGNode], Any]) -> None:
        """Calls ``fn`` with each node, once, those it depends on first."""
        for node in self._nodes():
            fn(node)

    def _nodes(self) -> list[DAGNode]:
        found: dict[str, DAGNode] = {}

        def visit(node: DAGNode) -> DAGNode:
            if node._uuid not in found:
                for child in node._children():
                    visit(child)
                found[node._uuid] = node
            return node

        visit(self)
        return list(found.values())

    def _children(self) -> Iterator[DAGNode]:
        children: list[DAGNode] = []

        def note(node: DAGNode) -> DAGNode:
            children.append(node)
            return node

        replace_nodes([list(self._bound_args), self._bound_kwargs, self._others], note)
        return iter(children)

    def _copy(self, fn: Callable[[DAGNode], Any]) -> DAGNode:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._bound_args = replace_nodes(self._bound_args, fn)
        new._bound_kwargs = replace_nodes(self._bound_kwargs, fn)
        new._others = replace_nodes(self._others, fn)
        return new

    def _run(self, run: Run) -> Any:
        raise NotImplementedError

    def _call(self, run: Run, callee: Any) -> Any:
        """Calls ``callee.remote`` with the node's arguments and options."""
        target = callee.options(**self._bound_options) if self._bound_options else callee
        return target.remote(*run.resolve(self._bound_args), **run.resolve(self._bound_kwargs))

    def __getattr__(self, name: str) -> Any:
        if name == "remote":
            raise AttributeError(f".remote() cannot be used on {type(self)}. To execute the task graph for this node, use .execute().")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def _body(self) -> str:
        return type(self).__name__

    def __str__(self) -> str:
        args = [*map(str, self._bound_args), *(f"{k}={v}" for k, v in self._bound_kwargs.items())]
        inside = "".join("\n    " + a.replace("\n", "\n    ") + "," for a in args)
        return f"({type(self).__name__}, {self._uuid}) {self._body()}({inside}{chr(10) if inside else ''})"


class MultiOutputNode(DAGNode):
    """Several nodes whose values are returned together, as a list."""

    def __init__(self, args: Union[list[Any], tuple[Any, ...]]) -> None:
        if not isinstance(args, (list, tuple)):
            raise ValueError(f"Invalid input type for `args`, {type(args)}.")
        super().__init__(tuple(args), {})

    def _run(self, run: Run) -> list[Any]:
        return [run.resolve(a) for a in self._bound_args]
