"""Worlds for the rooms of the bus: the same as those of the conformance suite."""

from tests.bus.conformance.conftest import mortal, world

__all__ = ["mortal", "world"]
