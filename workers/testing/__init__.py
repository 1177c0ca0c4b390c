"""For tests of your own roles: a fleet in memory with a clock that you move; no broker needed."""

from workers.testing.fleet import MemoryFleet

__all__ = ["MemoryFleet"]
