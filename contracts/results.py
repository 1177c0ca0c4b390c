"""The end of a task, as somebody who asked for it reads it."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from contracts.errors import DecodeError
from contracts.outcomes import Reason


class Status(StrEnum):
    """How a task ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One task's end. `fence` orders rival ends: a lower one never replaces a higher one."""

    id: str
    status: Status
    role: str
    worker: str
    fence: int
    attempt: int
    finished: float
    value: Any = None
    reason: Reason | None = None
    error: str = ""

    def encode(self) -> bytes:
        """As JSON bytes."""
        return to_json(asdict(self))


_ADAPTER = TypeAdapter(Result)


def decode_result(data: bytes) -> Result:
    """The result in `data`, or `DecodeError`."""
    try:
        return _ADAPTER.validate_python(from_json(data))
    except (ValidationError, ValueError) as error:
        raise DecodeError("result", f"is not a result: {error}") from error
