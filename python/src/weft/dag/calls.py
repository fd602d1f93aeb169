"""Nodes that make calls: of functions, of classes, of methods.

``function_node``, ``class_node`` and ``method_node`` are what ``bind`` of remote functions, actor classes and actor
methods return.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from weft.dag.inputs import InputAttributeNode, InputNode
from weft.dag.node import DAGNode, Run


class FunctionNode(DAGNode):
    """A call of a remote function."""

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Optional[dict[str, Any]] = None) -> None:
        super().__init__(args, kwargs, options)
        self._function = function

    def _run(self, run: Run) -> Any:
        return self._call(run, self._function)

    def _body(self) -> str:
        return str(getattr(getattr(self._function, "_function", None), "__name__", self._function))


class ClassNode(DAGNode):
    """An actor to be created; ``node.method.bind(...)`` binds a call of it.

    Raises ValueError if the input is among the constructor's arguments: actors are there before the input is.
    """

    def __init__(self, actor_class: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Optional[dict[str, Any]] = None) -> None:
        super().__init__(args, kwargs, options)
        self._actor_class = actor_class
        self._last_call: Optional[ClassMethodNode] = None
        if any(isinstance(n, (InputNode, InputAttributeNode)) for n in self._nodes()):
            raise ValueError(
                "InputNode handles user dynamic input the DAG, and cannot be used as args, kwargs, or "
                "other_args_to_resolve in ClassNode constructor because it is not available at class construction or "
                "binding time."
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "bind":
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        cls = _original_class(self._actor_class)
        if cls is not None and not hasattr(cls, name):
            raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")
        return _UnboundMethod(self, name, {})

    def _run(self, run: Run) -> Any:
        return self._call(run, self._actor_class)

    def _body(self) -> str:
        return str(getattr(_original_class(self._actor_class), "__name__", self._actor_class))


def _original_class(actor_class: Any) -> Optional[type]:
    cls = getattr(actor_class, "__ray_actor_class__", None)
    if cls is None:
        cls = getattr(getattr(actor_class, "__ray_metadata__", None), "modified_class", None)
    return cls if isinstance(cls, type) else None


class _UnboundMethod:
    """A method of a ClassNode before ``bind``."""

    def __init__(self, actor: ClassNode, name: str, options: dict[str, Any]) -> None:
        self._actor = actor
        self._name = name
        self._options = options

    def options(self, **options: Any) -> _UnboundMethod:
        """The method with these options for its call."""
        return _UnboundMethod(self._actor, self._name, {**self._options, **options})

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        """A node for the call."""
        node = ClassMethodNode(self._actor, self._name, args, kwargs, self._options, self._actor._last_call)
        self._actor._last_call = node
        return node


class ClassMethodNode(DAGNode):
    """A call of a method of an actor that exists, or of a ClassNode.

    ``previous`` is the call of the same ClassNode that was bound before, and is made before.
    """

    def __init__(
        self,
        actor: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Optional[dict[str, Any]] = None,
        previous: Optional[ClassMethodNode] = None,
    ) -> None:
        super().__init__(args, kwargs, options, {"parent_class_node": actor, "prev_class_method_call": previous})
        self._name = name

    def get_method_name(self) -> str:
        """The method's name."""
        return self._name

    @property
    def num_returns(self) -> int:
        """How many values the call returns."""
        return int(self._bound_options.get("num_returns", 1))

    def _run(self, run: Run) -> Any:
        actor = run.resolve(self._others["parent_class_node"])
        run.resolve(self._others["prev_class_method_call"])
        return self._call(run, getattr(actor, self._name))

    def _body(self) -> str:
        return f"{self._name}()"


class _OutputNode(ClassMethodNode):
    """One of the values of a call that returns several."""

    def __init__(self, call: ClassMethodNode, index: int) -> None:
        super().__init__(call._others["parent_class_node"], call._name, (call,), {})
        self._index = index

    @property
    def output_idx(self) -> int:
        """Which of the values."""
        return self._index

    def _run(self, run: Run) -> Any:
        return run.value(self._bound_args[0])[self._index]


def function_node(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Optional[dict[str, Any]] = None) -> FunctionNode:
    """What ``RemoteFunction.bind`` returns; ``options`` are those of ``options()``, on top of the function's own."""
    return FunctionNode(function, args, kwargs, options)


def class_node(actor_class: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Optional[dict[str, Any]] = None) -> ClassNode:
    """What ``ActorClass.bind`` returns."""
    return ClassNode(actor_class, args, kwargs, options)


def method_node(
    actor: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: Optional[dict[str, Any]] = None
) -> Union[ClassMethodNode, tuple[ClassMethodNode, ...]]:
    """What ``ActorMethod.bind`` returns: a node, or one for each value if ``options`` has num_returns above 1."""
    node = ClassMethodNode(actor, name, args, kwargs, options)
    if node.num_returns <= 1:
        return node
    return tuple(_OutputNode(node, i) for i in range(node.num_returns))
