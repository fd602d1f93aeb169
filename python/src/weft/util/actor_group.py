"""ActorGroup: several actors of one class that are called together. Deprecated, as in Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

import weft
from weft.util.annotations import Deprecated


@dataclass
class ActorWrapper:
    """An actor and what its method ``get_actor_metadata`` returned, or None if it has none."""

    actor: Any
    metadata: Any


class ActorGroupMethod:
    """A method of each actor of a group."""

    def __init__(self, group: Any, name: str) -> None:
        self._group = group
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(
            f"ActorGroup methods cannot be called directly. Instead of running 'object.{self._name}()', try 'object.{self._name}.remote()'."
        )

    def remote(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Calls the method on each actor; one ref each."""
        return [getattr(w.actor, self._name).remote(*args, **kwargs) for w in self._group.actors]


@Deprecated(message="For most uses, plain actors and ActorPool serve better.")
class ActorGroup:
    """``num_actors`` actors of ``actor_cls``, with the resources given for each.

    ``group.method.remote(...)`` calls all of them and returns a list of refs. Raises ValueError for fewer than one
    actor or for negative resources.
    """

    def __init__(
        self,
        actor_cls: type,
        num_actors: int = 1,
        num_cpus_per_actor: float = 1,
        num_gpus_per_actor: float = 0,
        resources_per_actor: Optional[dict[str, float]] = None,
        init_args: Optional[tuple[Any, ...]] = None,
        init_kwargs: Optional[dict[str, Any]] = None,
    ) -> None:
        if num_actors <= 0:
            raise ValueError(f"The provided `num_actors` must be greater than 0. Received num_actors={num_actors} instead.")
        if num_cpus_per_actor < 0 or num_gpus_per_actor < 0:
            raise ValueError(
                "The number of CPUs and GPUs per actor must not be negative. Received "
                f"num_cpus_per_actor={num_cpus_per_actor} and num_gpus_per_actor={num_gpus_per_actor}."
            )
        self.num_actors = num_actors
        self.actors: list[ActorWrapper] = []
        self._class = weft.remote(actor_cls).options(num_cpus=num_cpus_per_actor, num_gpus=num_gpus_per_actor, resources=resources_per_actor or {})
        self._args = init_args or ()
        self._kwargs = init_kwargs or {}
        self._describes_itself = hasattr(actor_cls, "get_actor_metadata")
        self.start()

    def __getattr__(self, name: str) -> ActorGroupMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        if not self.actors:
            raise RuntimeError("This ActorGroup has been shutdown. Please start it again.")
        return ActorGroupMethod(self, name)

    def __len__(self) -> int:
        return len(self.actors)

    def __getitem__(self, index: int) -> Any:
        return self.actors[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.actors)

    def start(self) -> None:
        """Starts the actors. Raises RuntimeError if they run."""
        if self.actors:
            raise RuntimeError("The actors have already been started. Please call `shutdown` first.")
        self.add_actors(self.num_actors)

    def shutdown(self, patience_s: float = 5) -> None:
        """Ends the actors: lets queued calls finish for ``patience_s`` seconds, then kills."""
        self._end(self.actors, patience_s)
        self.actors = []

    def remove_actors(self, actor_indexes: list[int]) -> None:
        """Kills the actors at these places and drops them from the group."""
        gone = set(actor_indexes)
        self._end([w for i, w in enumerate(self.actors) if i in gone], 0)
        self.actors = [w for i, w in enumerate(self.actors) if i not in gone]

    def add_actors(self, num_actors: int) -> None:
        """Starts so many further actors and waits for their metadata."""
        new = [self._class.remote(*self._args, **self._kwargs) for _ in range(num_actors)]
        described = weft.get([a.get_actor_metadata.remote() for a in new]) if self._describes_itself else [None] * num_actors
        self.actors += [ActorWrapper(a, m) for a, m in zip(new, described)]

    @property
    def actor_metadata(self) -> list[Any]:
        """The metadata of each actor."""
        return [w.metadata for w in self.actors]

    def _end(self, wrappers: list[ActorWrapper], patience_s: float) -> None:
        if patience_s > 0 and wrappers:
            leaving = [w.actor.__ray_terminate__.remote() for w in wrappers]
            weft.wait(leaving, num_returns=len(leaving), timeout=patience_s)
        for w in wrappers:
            weft.kill(w.actor)
