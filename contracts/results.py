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
    CANCELLED = "cancelled"


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
        """As JSON bytes. Releases that know no cancelling read one as a failure."""
        fields = asdict(self)
        if self.status is Status.CANCELLED:
            fields |= {"status": Status.FAILED, _CANCELLED: True}
        return to_json(fields)


_ADAPTER = TypeAdapter(Result)
_CANCELLED = "cancelled"


def decode_result(data: bytes) -> Result:
    """The result in `data`, or `DecodeError`."""
    try:
        fields = from_json(data)
        if isinstance(fields, dict) and fields.pop(_CANCELLED, False):
            fields["status"] = Status.CANCELLED
        return _ADAPTER.validate_python(fields)
    except (ValidationError, ValueError) as error:
        raise DecodeError("result", f"is not a result: {error}") from error
