"""Parts whose shape may still change."""

from __future__ import annotations

from weft.experimental.locations import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations"]
