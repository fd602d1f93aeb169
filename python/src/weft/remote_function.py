"""Remote functions, under Ray's name for their module."""

from weft._remote import RemoteFunction

__all__ = ["RemoteFunction"]
