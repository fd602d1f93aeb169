"""Graphs of calls that are written down with ``.bind()`` and run with ``.execute()``.

    with InputNode() as x:
        dag = add.bind(double.bind(x), 1)
    weft.get(dag.execute(20))  # 41

A node is a call that was not made yet. ``execute`` makes each call of the graph once, passes refs from one to the next,
and returns the ref of the last. Nodes may be arguments, also in lists, tuples, sets and dicts; there the call gets
refs, as it would of refs. An actor bound as a node is created anew by each execution, and gets its calls in the order
they were bound in.
"""

from __future__ import annotations

from weft.dag.calls import (
    ClassMethodNode,
    ClassNode,
    FunctionNode,
    class_node,
    function_node,
    method_node,
)
from weft.dag.compiled import CompiledDAG
from weft.dag.inputs import DAGInputData, InputAttributeNode, InputNode
from weft.dag.node import DAGNode, MultiOutputNode

__all__ = [
    "ClassMethodNode",
    "ClassNode",
    "CompiledDAG",
    "DAGInputData",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
    "class_node",
    "function_node",
    "method_node",
]
