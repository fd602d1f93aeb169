"""What a graph is given when it is executed."""

from __future__ import annotations

from typing import Any, Optional, Union

from weft.dag.node import DAGNode, Run


class DAGInputData:
    """The arguments of execute(), if they are not exactly one: ``data[0]`` or ``data["name"]``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = list(args)
        self._kwargs = kwargs

    def __getitem__(self, key: Union[int, str]) -> Any:
        if isinstance(key, int):
            return self._args[key]
        return self._kwargs[key]


class InputNode(DAGNode):
    """The input of a graph, to be used as ``with InputNode() as x:``.

    It becomes the one argument of execute(). If there are several, ``x[0]`` and ``x.name`` are the positional and the
    named ones; of a single argument they are its items and attributes. ``input_type`` is for documentation.
    """

    def __init__(self, *, input_type: Any = None) -> None:
        super().__init__((), {})
        self._input_type = input_type
        self._entered = False

    def __enter__(self) -> InputNode:
        self._entered = True
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __getitem__(self, key: Union[int, str]) -> InputAttributeNode:
        assert isinstance(key, (int, str)), "Please only use int index or str as first-level key to access input."
        return InputAttributeNode(self, key, "item", self._type_of(key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return InputAttributeNode(self, name, "attribute", self._type_of(name))

    def _type_of(self, key: Union[int, str]) -> Any:
        return self._input_type.get(key) if isinstance(self._input_type, dict) else None

    def get_result_type(self) -> Optional[str]:
        """The name of the type of the input, if one was given."""
        return getattr(self._input_type, "__name__", None)

    def _run(self, run: Run) -> Any:
        assert self._entered, (
            "InputNode is a singleton instance that should be only used in context manager for dag building and "
            "execution. See the docstring of class InputNode for examples."
        )
        assert run.input_node in (None, self), "Each DAG should only have one unique InputNode."
        run.input_node = self
        if len(run.args) == 1 and not run.kwargs:
            return run.args[0]
        return DAGInputData(*run.args, **run.kwargs)


class InputAttributeNode(DAGNode):
    """A part of the input: ``x[0]``, ``x["name"]`` or ``x.name``."""

    def __init__(self, input_node: InputNode, key: Union[int, str], access: str, input_type: Any = None) -> None:
        super().__init__((), {}, None, {"dag_input_node": input_node})
        self._key = key
        self._access = access
        self._input_type = input_type

    @property
    def key(self) -> Union[int, str]:
        """The index or name."""
        return self._key

    def get_result_type(self) -> Optional[str]:
        """The name of the type of this part, if one was given."""
        return getattr(self._input_type, "__name__", None)

    def _run(self, run: Run) -> Any:
        data = run.value(self._others["dag_input_node"])
        if isinstance(data, DAGInputData) or self._access == "item":
            return data[self._key]
        return getattr(data, str(self._key))

    def _body(self) -> str:
        return f"input[{self._key!r}]"
