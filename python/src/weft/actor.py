"""Actors, under the names of ``ray.actor``."""

from __future__ import annotations

from weft._api import exit_actor
from weft._remote import ActorClass, ActorHandle, ActorMethod, method
from weft.exceptions import ActorClassInheritanceException

__all__ = ["ActorClass", "ActorClassInheritanceException", "ActorHandle", "ActorMethod", "exit_actor", "method"]
