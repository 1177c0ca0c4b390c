"""Payloads as the command line gets them: an argument, a file, standard input, JSON lines."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import Any

from bus.backend import MAX_BODY
from bus.errors import TooLarge
from contracts.errors import MusterError
from workers.cli.errors import InvalidJson, NotFound

_AROUND = 20
"""Characters shown before and after the place where JSON breaks."""

_SHOWN = 5
"""Bad lines of a file that are named."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A JSON value, and its line in the file it came from (0: it is no line)."""

    value: Any
    line: int = 0

    def encoded(self) -> bytes:
        """As the body of a task."""
        return json.dumps(self.value, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "surrogatepass"
        )


def read(argument: str, *, lines: bool) -> list[Payload]:
    """The payloads in `argument`: JSON, `@file`, or `-` for standard input; with `lines` one per
    line, empty ones left out. Every line is checked before any is returned.

    Raises `NotFound` for a file that is not there, `InvalidJson`, `TooLarge`.
    """
    text = _text(argument)
    if not lines:
        return [Payload(parse(text))]
    return _parse_lines(text)


def _text(argument: str) -> str:
    try:
        if argument == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        if argument.startswith("@"):
            return Path(argument[1:]).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise NotFound(
            f"{argument[1:]} cannot be read",
            details=error.strerror or str(error),
            actions=("name a file that can be read",),
        ) from error
    except UnicodeDecodeError as error:
        raise not_utf8(error) from error
    return argument


def not_utf8(error: UnicodeDecodeError) -> InvalidJson:
    """The error for a payload whose bytes are no text."""
    return InvalidJson(
        "the payload is not JSON",
        details=f"byte {error.start} is not UTF-8",
        actions=("save it as UTF-8",),
    )


def _parse_lines(text: str) -> list[Payload]:
    found: list[Payload] = []
    bad: list[MusterError] = []
    for number, line in enumerate(text.splitlines() if "\r" in text else text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            payload = Payload(parse(line, number), number)
            _check_size(payload)
            found.append(payload)
        except (InvalidJson, TooLarge) as error:
            bad.append(error)
    if bad:
        raise refused(bad)
    return found


def refused(bad: Sequence[MusterError]) -> MusterError:
    """One error for all bad lines of a file, of the class of the first."""
    named = "; ".join(error.details for error in bad[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    lines = "1 line is" if len(bad) == 1 else f"{len(bad)} lines are"
    return type(bad[0])(
        f"{lines} refused, nothing was published",
        details=named + more,
        actions=("correct them and publish the file again",),
    )


def _check_size(payload: Payload) -> None:
    size = len(payload.encoded())
    if size > MAX_BODY:
        raise TooLarge(
            "a line is too large",
            details=f"line {payload.line}: {size:,} bytes, more than {MAX_BODY:,}",
        )


def parse(text: str, line: int = 0) -> Any:
    """The JSON value in `text`, which is `line` of a file (0: all of it). Raises `InvalidJson`."""
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        raise _invalid(f"{where}: {error.msg}: {_place(text, error.pos)}") from error
    except (ValueError, RecursionError) as error:
        raise _invalid(f"line {line or 1}: {error}") from error


def _invalid(details: str) -> InvalidJson:
    return InvalidJson(
        "the payload is not JSON",
        details=details,
        actions=("""correct it, such as '{"text": "hello"}', or give it as @file""",),
    )


def _place(text: str, position: int) -> str:
    """What stands around `position`, which is marked."""
    before = text[max(0, position - _AROUND) : position].replace("\n", " ")
    after = text[position : position + _AROUND].replace("\n", " ")
    return f"{before}▸{after}"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text} is too large a number")
    return number
