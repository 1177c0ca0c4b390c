"""What a handler's signature says: its kind, its payload and result, and what it is given."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from workers.sdk.blocking import SyncContext
from workers.sdk.context import Context
from workers.sdk.errors import RoleError
from workers.sdk.resources import Resource, needs_of

_GENERATORS = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a role is declared."""

    role: str
    file: Path
    line: int

    @classmethod
    def of(cls, role: str, handler: Callable[..., Any]) -> "Place":
        """The place of a handler's code."""
        code = getattr(handler, "__code__", None)
        return cls(role, *((Path(code.co_filename), code.co_firstlineno) if code else (_NO, 0)))


_NO = Path("?")


@dataclass(frozen=True, slots=True)
class Signature:
    """`plain`: not `async`, so it runs in a thread. `resources` by the name of the parameter."""

    plain: bool
    payload: TypeAdapter[Any]
    result: TypeAdapter[Any]
    resources: Mapping[str, Resource[Any]]


def signature(handler: Callable[..., Any], place: Place) -> Signature:
    """What `handler` takes and returns. Raises `RoleError` for one that cannot be called."""
    plain = _is_plain(handler, place)
    parameters = list(inspect.signature(handler).parameters)
    hints = _hints(handler, place)
    resources = needs_of(hints)
    more = [name for name in parameters[2:] if name not in resources]
    if len(parameters) < 2 or more:
        takes = f"the handler takes {len(parameters)} parameters, expected (payload, ctx)"
        hint = f": {more[0]} is no resource, see @resource" if more else ""
        raise declaration(place, takes + hint)
    _check_call(handler, resources, place)
    payload, ctx = parameters[:2]
    _check_context(hints.get(payload), hints.get(ctx), plain=plain, place=place)
    return Signature(
        plain,
        _adapter(hints.get(payload, Any), place),
        _adapter(hints.get("return", Any), place),
        resources,
    )


def declaration(place: Place, reason: str) -> RoleError:
    """Why a declaration cannot work, and where it stands."""
    return RoleError(
        f"role {place.role!r} cannot be used",
        details=f"{place.file}:{place.line}: {reason}",
        actions=("correct the declaration",),
    )


def _is_plain(handler: Callable[..., Any], place: Place) -> bool:
    if any(check(handler) for check in _GENERATORS):
        reason = "the handler yields: return one result, and stream parts with ctx.stream"
        raise declaration(place, reason)
    if inspect.iscoroutinefunction(handler):
        return False
    if not inspect.isfunction(handler):
        raise declaration(place, "the handler is neither `async def` nor `def`")
    return True


def _check_call(
    handler: Callable[..., Any], resources: Mapping[str, Resource[Any]], place: Place
) -> None:
    try:
        inspect.signature(handler).bind(None, None, **dict.fromkeys(resources))
    except TypeError as error:
        reason = f"the handler cannot be called as handler(payload, ctx): {error}"
        raise declaration(place, reason) from error


def _check_context(payload: Any, ctx: Any, *, plain: bool, place: Place) -> None:
    """The face of the context has to fit the handler: what one awaits, the other does not."""
    if payload in {Context, SyncContext}:
        raise declaration(place, "the payload comes before the context: handler(payload, ctx)")
    if plain and ctx is Context:
        reason = "a plain `def` handler runs in a thread: annotate its ctx as SyncContext"
        raise declaration(place, f"{reason}, or make it `async def`")
    if not plain and ctx is SyncContext:
        reason = "an `async def` handler must not block: annotate its ctx as Context"
        raise declaration(place, f"{reason}, or make it `def`")


def _hints(handler: Callable[..., Any], place: Place) -> dict[str, Any]:
    try:
        return typing.get_type_hints(handler, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise declaration(place, f"its annotations cannot be read: {error}") from error


def _adapter(kind: Any, place: Place) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        reason = f"the type {kind!r} cannot be checked: {str(error).splitlines()[0]}"
        raise declaration(place, reason) from error
