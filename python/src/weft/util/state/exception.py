"""What the functions of weft.util.state raise."""

from __future__ import annotations


class DataSourceUnavailable(Exception):
    """A node did not answer."""


class RayStateApiException(Exception):
    """The question cannot be answered."""


class ServerUnavailable(RayStateApiException):
    """There is no node to ask."""
