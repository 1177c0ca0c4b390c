"""What a worker opens once and hands to its handlers: pools, clients, sessions."""

import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from workers.sdk.errors import RoleError

T = TypeVar("T")

Opened = AsyncIterator[T] | Iterator[T] | AbstractAsyncContextManager[T] | AbstractContextManager[T]
"""What the function under `@resource` may be: a generator that yields once, async or not, or what
returns a context manager, async or not."""


class Resource(Generic[T]):
    """Something of type `T` that is opened once per worker process; made by `resource`.

    A handler asks for it with a parameter annotated `Annotated[T, it]`, and so may another
    resource. Two parameters with the same resource get the same object.
    """

    def __init__(self, opener: Callable[..., Opened[T]]) -> None:
        self.name = opener.__name__
        self.file = Path(opener.__code__.co_filename)
        self.line = opener.__code__.co_firstlineno
        self._open = _manager_of(opener)
        self.needs = self._needs(opener)

    def manager(
        self, needs: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[T] | AbstractContextManager[T]:
        """What opens it when entered and closes it when left; `needs` by parameter."""
        found = self._open(**needs)
        if isinstance(found, AbstractAsyncContextManager | AbstractContextManager):
            return found
        raise self.wrong(
            f"it returned {type(found).__name__}: yield the thing once, or return a context manager"
        )

    def wrong(self, reason: str) -> RoleError:
        """Why it cannot be used, and where it stands."""
        return RoleError(
            f"resource {self.name!r} cannot be used",
            details=f"{self.file}:{self.line}: {reason}",
            actions=("correct the function under @resource",),
        )

    def __repr__(self) -> str:
        return f"<resource {self.name}>"

    def _needs(self, opener: Callable[..., Any]) -> Mapping[str, "Resource[Any]"]:
        try:
            hints = typing.get_type_hints(opener, include_extras=True)
        except (NameError, TypeError, AttributeError, SyntaxError) as error:
            raise self.wrong(f"its annotations cannot be read: {error}") from error
        found = needs_of(hints)
        for name, parameter in inspect.signature(opener).parameters.items():
            if name not in found and parameter.default is inspect.Parameter.empty:
                reason = f"its parameter {name} is no resource: annotate it as Annotated[…, it]"
                raise self.wrong(reason)
        return found


def resource(opener: Callable[..., Opened[T]]) -> Resource[T]:
    """Make a resource of a function that opens something, yields it once, and closes it.

    It is opened before its worker is ready, and closed after the drain. One that cannot be opened
    ends the worker with an error that names it. Raises `RoleError` for a function that cannot be
    called so.
    """
    if not inspect.isfunction(opener):
        raise RoleError(
            f"{opener!r} cannot be a resource",
            details="@resource belongs above a function that yields the thing once",
            actions=("put it above such a function",),
        )
    return Resource(opener)


def needs_of(hints: Mapping[str, Any]) -> Mapping[str, Resource[Any]]:
    """The parameters that ask for resources, by name."""
    found = {
        name: meta
        for name, hint in hints.items()
        for meta in getattr(hint, "__metadata__", ())
        if isinstance(meta, Resource)
    }
    return MappingProxyType(found)


def _manager_of(opener: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(opener):
        return asynccontextmanager(opener)
    return contextmanager(opener) if inspect.isgeneratorfunction(opener) else opener
