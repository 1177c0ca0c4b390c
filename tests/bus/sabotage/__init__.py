"""Deliberately broken parts of the bus: for each, the tests of its promise that must fail."""
