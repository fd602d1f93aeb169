"""Clusters of several nodes on this machine, for tests: each node is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any, Optional

import weft
from weft import _node
from weft._api import _flags

_DEFAULT_STORE = 150 * 1024 * 1024  # bytes
cluster_not_supported = False  # on no platform; programs ask
_NOT_FLAGS = {"include_dashboard", "dashboard_host", "dashboard_port", "min_worker_port", "max_worker_port", "enable_object_reconstruction"}


class ClusterNode(_node.Node):
    """One node of a Cluster."""

    def __init__(self, flags: list[str]) -> None:
        super().__init__(flags)
        self.node_id: str = self.report["node"]
        self.cluster_address: str = self.report["cluster"]

    @property
    def unique_id(self) -> str:
        return self.node_id

    def kill(self) -> None:
        """Ends the process at once, as a machine does that loses its power."""
        self.process.kill()
        self.close()


class Cluster:
    """A cluster on this machine. The first node is its head.

    >>> cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    >>> node = cluster.add_node(num_cpus=2, resources={"fast": 1})
    >>> _ = weft.init(address=cluster.address)
    >>> sorted(n["NodeID"] for n in weft.nodes()) == sorted(n.node_id for n in cluster.list_all_nodes())
    True
    >>> cluster.shutdown()
    """

    def __init__(
        self, initialize_head: bool = False, connect: bool = False, head_node_args: Optional[dict[str, Any]] = None, shutdown_at_exit: bool = True,
    ) -> None:  # fmt: skip
        del shutdown_at_exit  # nodes end with this process, however it ends
        self.head_node: Optional[ClusterNode] = None
        self.worker_nodes: set[ClusterNode] = set()
        self.connected = False
        if connect and not initialize_head:
            raise RuntimeError("Cannot connect to uninitialized cluster.")
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def address(self) -> Optional[str]:
        """What init's ``address`` takes; None without a head."""
        return self.head_node.address if self.head_node else None

    gcs_address = address

    def connect(self, namespace: Optional[str] = None) -> None:
        """Has this program join the cluster."""
        assert self.address is not None and not self.connected
        weft.init(address=self.address, namespace=namespace, ignore_reinit_error=True)
        self.connected = True

    def add_node(
        self, wait: bool = True, num_cpus: float = 1, num_gpus: float = 0, resources: Optional[dict[str, float]] = None,
        labels: Optional[dict[str, str]] = None, object_store_memory: int = _DEFAULT_STORE, **others: Any,
    ) -> ClusterNode:  # fmt: skip
        """Starts a node, the head if there is none, and returns it.

        ``wait``: return once every node is known to the head. Settings of Ray's own processes are accepted and ignored.
        """
        unknown = [k for k in others if k not in _NOT_FLAGS and not k.startswith("_")]
        if unknown:
            raise ValueError(f"add_node does not know {', '.join(unknown)}")
        flags = _flags(num_cpus, num_gpus, resources, labels, object_store_memory)
        if self.head_node is None:
            node = self.head_node = ClusterNode(["--head", "--listen=127.0.0.1:0", *flags])
        else:
            node = ClusterNode([f"--address={self.head_node.cluster_address}", *flags])
            self.worker_nodes.add(node)
        if wait:
            self.wait_for_nodes()
        return node

    def remove_node(self, node: ClusterNode, allow_graceful: bool = True) -> None:
        """Ends a node: as ``weft stop`` does, or at once."""
        if node is self.head_node:
            if self.worker_nodes:
                raise ValueError("the head is removed last: it has the cluster's metadata")
            self.head_node = None
        else:
            self.worker_nodes.remove(node)
        if allow_graceful:
            node.close()
        else:
            node.kill()

    def wait_for_nodes(self, timeout: float = 30) -> None:
        """Returns when the head knows exactly the nodes of this object. TimeoutError after so many seconds."""
        want = {n.node_id for n in self.list_all_nodes()}
        end = time.monotonic() + timeout
        while (have := self._known()) != want:
            if time.monotonic() > end:
                raise TimeoutError(f"after {timeout} s the head knows {len(have)} nodes instead of {len(want)}")
            time.sleep(0.02)

    def _known(self) -> set[str]:
        assert self.head_node is not None
        command = [_node._binary(), "list", "nodes", "--format=json", f"--address={self.head_node.dir}"]
        rows = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, env=os.environ).stdout
        return {json.loads(row)["id"] for row in rows.splitlines()}

    def list_all_nodes(self) -> list[ClusterNode]:
        """All nodes, the head first."""
        return ([self.head_node] if self.head_node else []) + list(self.worker_nodes)

    def remaining_processes_alive(self) -> bool:
        """Whether every node's process runs."""
        return all(n.process.poll() is None for n in self.list_all_nodes())

    def shutdown(self) -> None:
        """Ends all nodes; a program that is connected to them is disconnected first."""
        if weft.is_initialized():
            weft.shutdown()
        self.connected = False
        for node in list(self.worker_nodes):
            self.remove_node(node)
        if self.head_node is not None:
            self.remove_node(self.head_node)
