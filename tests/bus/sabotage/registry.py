"""What a sabotage is, which there are, and how one is put into the place of what it breaks.

A sabotage is a class or function that breaks one promise, marked with `breaks`. It stands in for
the class it inherits from, or for the function it `replaces`, wherever a loaded module of the
product or of the tests knows that by its name.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from inspect import getdoc, getmodule
from types import ModuleType
from typing import Any, TypeVar

import pytest

from tests.promises import PROMISES

B = TypeVar("B", bound=Callable[..., Any])

MODULES = (
    "accepting",
    "keys",
    "pulling",
    "outages",
    "order",
    "due",
    "settling",
    "leases",
    "holders",
    "deadletters",
    "lag",
    "crashes",
    "draining",
    "fullness",
    "binding",
    "stops",
    "telling",
    "once",
    "store",
)
"""The modules of this folder that hold sabotages, about in the order of the promises."""

OTHER = -1
"""In place of a promise of the bus where what is broken is one of another part."""

_MARK = "__sabotage__"
_HERE = __package__ + "."
_OURS = ("bus.", "knowledge.", "workers.", "tests.")


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One broken thing: the promise it breaks and the tests each of which must fail with it."""

    promise: int
    broken: Callable[..., Any]
    replaces: Callable[..., Any]
    caught_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in reports of a run."""
        return self.broken.__name__

    @property
    def what(self) -> str:
        """What is broken, in a sentence."""
        return " ".join((getdoc(self.broken) or "").split())

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the broken thing in place until `patch` is undone."""
        known_as = self.replaces.__name__
        places = [module for module in _loaded() if vars(module).get(known_as) is self.replaces]
        assert places, f"nobody knows {known_as}"
        for module in places:
            patch.setattr(module, known_as, self.broken)


def breaks(
    promise: int, *caught_by: str, replaces: Callable[..., Any] | None = None
) -> Callable[[B], B]:
    """Mark a class or function as a sabotage of `promise`, which these tests must catch."""

    def mark(broken: B) -> B:
        original = replaces
        if original is None:
            assert isinstance(broken, type), f"say what {broken.__name__} replaces"
            original = broken.__base__
        assert original is not None
        setattr(broken, _MARK, Sabotage(promise, broken, original, caught_by))
        return broken

    return mark


def sabotages() -> list[Sabotage]:
    """All there are of the bus, in order of their promises."""
    found = [sabotage for name in MODULES for sabotage in marked(_HERE + name)]
    return sorted(found, key=lambda sabotage: list(PROMISES).index(sabotage.promise))


def marked(name: str) -> Iterator[Sabotage]:
    """Those of a module, in their order there."""
    module = import_module(name)
    for thing in vars(module).values():
        if callable(thing) and getmodule(thing) is module and _MARK in vars(thing):
            yield vars(thing)[_MARK]


def _loaded() -> list[ModuleType]:
    """The modules in which a broken thing may take the place of a sound one."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(_OURS) and "sabotage" not in name
    ]
