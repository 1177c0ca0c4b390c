"""What a role is, and the decorator that makes one of a handler."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, Unpack

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from contracts.limits import Limit
from workers.sdk.auctioning import Auctioned
from workers.sdk.declaring import Delivery, Isolation, Options, fields_of
from workers.sdk.errors import InvalidPayload
from workers.sdk.resources import Resource

Handler = Callable[..., Any]
H = TypeVar("H", bound=Callable[..., Any])

DAY = 86_400.0

MARK = "__muster_role__"
"""Attribute of a handler that holds its `Role`."""

_NOTHING: Mapping[str, Resource[Any]] = MappingProxyType({})


def _nothing() -> Mapping[str, Resource[Any]]:
    return _NOTHING


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Role:
    """A kind of worker; its options are those of `Options`. Times in seconds. `plain`: its handler
    is not `async` and runs in a thread. `retry_on` None: every exception is worth a retry.
    `resources`: what the handler is given, by parameter. `auction` None: whoever pulls a task first
    runs it."""

    name: str
    listens: tuple[str, ...]
    handler: Handler
    payload: TypeAdapter[Any]
    result: TypeAdapter[Any]
    file: Path
    line: int
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 5
    backoff: float = 1.0
    backoff_factor: float = 2.0
    backoff_cap: float = 300.0
    backoff_jitter: float = 1.0
    retry_on: tuple[type[BaseException], ...] | None = None
    never_retry: tuple[type[BaseException], ...] = ()
    delivery: Delivery = "at-least-once"
    once_for: float = DAY
    isolation: Isolation | None = None
    memory_mb: int | None = None
    files: int | None = None
    limits: tuple[Limit, ...] = ()
    auction: Auctioned | None = None
    plain: bool = False
    resources: Mapping[str, Resource[Any]] = field(default_factory=_nothing)

    @property
    def once(self) -> bool:
        """Whether a task is started at most once."""
        return self.delivery == "once"

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    def read(self, body: bytes) -> Any:
        """The payload in `body`, typed; `InvalidPayload` names each wrong field."""
        try:
            return self.payload.validator.validate_json(body)
        except ValidationError as error:
            raise _invalid(f"the payload does not fit role {self.name}", error) from error

    def write(self, value: Any) -> bytes:
        """A result as JSON bytes; `InvalidPayload` if it is not what the role declares."""
        try:
            checked = self.result.validator.validate_python(value)
        except ValidationError as error:
            raise _invalid(f"the result of role {self.name} has another type", error) from error
        try:
            return self.result.serializer.to_json(checked)
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidPayload(
                f"the result of role {self.name} is not JSON",
                details=str(error).splitlines()[0],
                actions=("return a pydantic model, or dicts, lists, text, numbers",),
            ) from error


def role(name: str, **options: Unpack[Options]) -> Callable[[H], H]:
    """Make a role of `async def handler(payload, ctx) -> result`, or of a plain `def`, which runs
    in a thread and takes a `SyncContext`. See `Options` for what else may be said.

    Further parameters are resources: `Annotated[Type, resource]`. The handler stays what it was.
    Raises `RoleError` for a declaration that cannot work.
    """

    def mark(handler: H) -> H:
        setattr(handler, MARK, Role(**fields_of(handler, name, options)))
        return handler

    return mark


def _invalid(message: str, error: ValidationError) -> InvalidPayload:
    fields = "; ".join(_field(item) for item in error.errors(include_url=False)[:10])
    return InvalidPayload(message, details=fields, actions=("send the fields as declared",))


def _field(item: ErrorDetails) -> str:
    where = ".".join(map(str, item["loc"])) or "(whole value)"
    got = "nothing" if item["type"] == "missing" else repr(item["input"])
    return f"{where}: {item['msg']}, got {got[:80]}"
