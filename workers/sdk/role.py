"""What a role is, and the decorator that makes one of a handler."""

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import ErrorDetails, PydanticSerializationError

from contracts.errors import InvalidTopic
from contracts.limits import Limit
from contracts.topics import check_group, check_pattern
from workers.sdk.context import Context
from workers.sdk.errors import InvalidPayload, RoleError

Handler = Callable[[Any, Context], Awaitable[Any]]
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])

Isolation = Literal["process"]
"""Where a task runs that may not share its worker's process."""

LEAST_MEMORY_MB = 64
"""What an idle child process holds, twice."""

MARK = "__muster_role__"
"""Attribute of a handler that holds its `Role`."""


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """A kind of worker. `timeout` and `backoff`, the longest wait before the first retry, in
    seconds. `isolation`, `memory_mb` and `files` as `role` describes them."""

    name: str
    listens: tuple[str, ...]
    handler: Handler
    payload: TypeAdapter[Any]
    result: TypeAdapter[Any]
    concurrency: int
    attempts: int
    timeout: float
    backoff: float
    file: Path
    line: int
    isolation: Isolation | None = None
    memory_mb: int | None = None
    files: int | None = None
    limits: tuple[Limit, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    def read(self, body: bytes) -> Any:
        """The payload in `body`, typed; `InvalidPayload` names each wrong field."""
        try:
            return self.payload.validate_json(body)
        except ValidationError as error:
            raise _invalid(f"the payload does not fit role {self.name}", error) from error

    def write(self, value: Any) -> bytes:
        """A result as JSON bytes; `InvalidPayload` if it is not what the role declares."""
        try:
            checked = self.result.validate_python(value)
        except ValidationError as error:
            raise _invalid(f"the result of role {self.name} has another type", error) from error
        try:
            return self.result.dump_json(checked)
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidPayload(
                f"the result of role {self.name} is not JSON",
                details=str(error).splitlines()[0],
                actions=("return a pydantic model, or dicts, lists, text, numbers",),
            ) from error


def role(
    name: str,
    *,
    listens: str | Sequence[str] = (),
    concurrency: int = 8,
    attempts: int = 5,
    timeout: float = 120.0,
    backoff: float = 1.0,
    isolation: Isolation | None = None,
    memory_mb: int | None = None,
    files: int | None = None,
    limits: Sequence[Limit] = (),
) -> Callable[[H], H]:
    """Make a role of `async def handler(payload, ctx) -> result`.

    `listens`: patterns of the topics it takes; without any it is reached by `ctx.call` only.
    `concurrency`: tasks that run at once in one process. `attempts`: runs before a failing task
    is a dead letter. `timeout`: seconds one run may take. `backoff`: seconds; the wait before
    retry n is drawn from [0, min(300, backoff · 2^n)].

    `isolation="process"` runs each task in a process of its own, which dies with it: `memory_mb`
    is what it may hold (from 64 on; with all it starts), `files` how many it may open. What needs
    more memory, or ends its process, uses up an attempt and dies of `crash`.

    `limits`: how often its tasks may start and how many may run at once over the whole fleet, by
    role, tenant or a field of the payload; all of them hold. What has to wait uses no attempt.

    The handler stays what it was. Raises `RoleError` for a declaration that cannot work.
    """

    def mark(handler: H) -> H:
        numbers = (concurrency, attempts, timeout, backoff)
        apart = (isolation, memory_mb, files)
        found = _declared(handler, name, listens, numbers, apart)
        setattr(handler, MARK, replace(found, limits=_limits(limits, found)))
        return handler

    return mark


def _declared(
    handler: Callable[..., Awaitable[Any]],
    name: str,
    listens: str | Sequence[str],
    numbers: tuple[int, int, float, float],
    apart: tuple[Isolation | None, int | None, int | None],
) -> Role:
    """The role, checked."""
    patterns = (listens,) if isinstance(listens, str) else tuple(listens)
    place = (name, *_location(handler))
    payload, result = _hints(handler, *place)
    concurrency, attempts, timeout, backoff = numbers
    isolation, memory_mb, files = apart
    _check_isolation(isolation, {"memory_mb": memory_mb, "files": files}, place)
    return Role(
        name=_checked_name(name, patterns, *place[1:]),
        listens=patterns,
        handler=handler,
        payload=_adapter(payload, *place),
        result=_adapter(result, *place),
        concurrency=_whole("concurrency", concurrency, *place),
        attempts=_whole("attempts", attempts, *place),
        timeout=_positive("timeout", timeout, *place),
        backoff=_positive("backoff", backoff, *place),
        file=place[1],
        line=place[2],
        isolation=isolation,
        memory_mb=memory_mb,
        files=files,
    )


def _limits(limits: Sequence[object], found: Role) -> tuple[Limit, ...]:
    fit = tuple(limit for limit in limits if isinstance(limit, Limit))
    if len(fit) < len(limits):
        reason = f"limits={limits!r}, expected a list of Limit(rate=…, concurrency=…, by=…)"
        raise _declaration(found.name, found.file, found.line, reason)
    return fit


def _location(handler: Callable[..., Any]) -> tuple[Path, int]:
    code = getattr(handler, "__code__", None)
    return (Path(code.co_filename), code.co_firstlineno) if code else (Path("?"), 0)


def _checked_name(name: str, patterns: Sequence[str], file: Path, line: int) -> str:
    try:
        for pattern in patterns:
            check_pattern(pattern)
        return check_group(name)
    except InvalidTopic as error:
        raise _declaration(name, file, line, f"{error.message}: {error.details}") from error


N = TypeVar("N", int, float)


def _positive(what: str, value: N, name: str, file: Path, line: int) -> N:
    number: object = value
    if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
        raise _declaration(name, file, line, f"{what}={value!r} has to be above 0")
    return value


def _whole(what: str, value: int, name: str, file: Path, line: int) -> int:
    number: object = value
    if not isinstance(number, int):
        raise _declaration(name, file, line, f"{what}={value!r} has to be a whole number")
    return _positive(what, value, name, file, line)


def _check_isolation(
    value: str | None, limits: Mapping[str, int | None], place: tuple[str, Path, int]
) -> None:
    if value not in {None, "process"}:
        raise _declaration(*place, f'isolation={value!r}, expected "process" or None')
    for what, limit in limits.items():
        if limit is None:
            continue
        if value is None:
            raise _declaration(*place, f'{what}={limit!r} needs isolation="process"')
        least = LEAST_MEMORY_MB if what == "memory_mb" else 1
        if _whole(what, limit, *place) < least:
            raise _declaration(*place, f"{what}={limit!r} is too little, at least {least}")


def _hints(handler: Callable[..., Any], name: str, file: Path, line: int) -> tuple[Any, Any]:
    """The declared types of payload and result."""
    if not inspect.iscoroutinefunction(handler):
        reason = "the handler is not `async def`; plain functions are not supported yet"
        raise _declaration(name, file, line, reason)
    parameters = list(inspect.signature(handler).parameters)
    if len(parameters) != 2:
        reason = f"the handler takes {len(parameters)} parameters, expected (payload, ctx)"
        raise _declaration(name, file, line, reason)
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError as error:
        reason = f"the handler cannot be called as handler(payload, ctx): {error}"
        raise _declaration(name, file, line, reason) from error
    try:
        hints = typing.get_type_hints(handler, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise _declaration(name, file, line, f"its annotations cannot be read: {error}") from error
    return hints.get(parameters[0], Any), hints.get("return", Any)


def _adapter(kind: Any, name: str, file: Path, line: int) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        reason = f"the type {kind!r} cannot be checked: {str(error).splitlines()[0]}"
        raise _declaration(name, file, line, reason) from error


def _declaration(name: str, file: Path, line: int, reason: str) -> RoleError:
    return RoleError(
        f"role {name!r} cannot be used",
        details=f"{file}:{line}: {reason}",
        actions=("correct the declaration",),
    )


def _invalid(message: str, error: ValidationError) -> InvalidPayload:
    fields = "; ".join(_field(item) for item in error.errors(include_url=False)[:10])
    return InvalidPayload(message, details=fields, actions=("send the fields as declared",))


def _field(item: ErrorDetails) -> str:
    where = ".".join(map(str, item["loc"])) or "(whole value)"
    got = "nothing" if item["type"] == "missing" else repr(item["input"])
    return f"{where}: {item['msg']}, got {got[:80]}"
