"""A graph that is executed often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.dag.node import DAGNode


class CompiledDAG:
    """What ``experimental_compile`` returns. Each execution makes the calls of the graph anew."""

    def __init__(self, dag: DAGNode) -> None:
        self._dag = dag
        self._open = True

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """As DAGNode.execute. Raises ValueError after teardown."""
        if not self._open:
            raise ValueError("The graph has been torn down.")
        return self._dag.execute(*args, **kwargs)

    async def execute_async(self, *args: Any, **kwargs: Any) -> Any:
        """As execute, to be awaited; what it returns can be awaited in turn."""
        return self.execute(*args, **kwargs)

    def teardown(self) -> None:
        """Ends the graph; its actors stay."""
        self._open = False
