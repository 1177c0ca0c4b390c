"""Errors as a person sees them: three short lines, and an exit code by their class."""

import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import typer

from contracts.errors import DecodeError, InvalidTopic, InvalidValue, MusterError

FAILED, USAGE, UNREACHABLE, MISSING, REFUSED, INTERRUPTED = 1, 2, 3, 4, 5, 130

_LONGEST = 300
"""Characters of one of the three lines."""


class WrongUsage(MusterError):
    """Options or arguments that do not go together, or a name that cannot be one."""


class NotFound(MusterError):
    """There is nothing of this name or id."""


class NotRecordedYet(MusterError):
    """History has not caught up with the moment of the question."""

    retryable = True


class Exists(MusterError):
    """There is something of this name already."""


class InvalidJson(MusterError):
    """Text that is not JSON; the details say where."""


class PastDeadline(InvalidValue):
    """A deadline that has passed, or passes before the task may start."""


class Deserted(MusterError):
    """Groups whose workers are all gone: what is published for them only waits."""


class Unconfirmed(MusterError):
    """A question to a person where none could be asked: nothing was done."""


class Interrupted(MusterError):
    """Ctrl-C, where there is more to say than that."""


def codes() -> Mapping[type[BaseException], int]:
    """The exit code of each class of error; the nearest class of an error decides."""
    return {
        kind: code
        for code, kinds in (
            (FAILED, _failed()),
            (USAGE, _usage_errors()),
            (UNREACHABLE, _unreachable()),
            (MISSING, _missing()),
            (REFUSED, _refused()),
            (INTERRUPTED, (Interrupted,)),
        )
        for kind in kinds
    }


_Kinds = tuple[type[MusterError], ...]


def _failed() -> _Kinds:
    from workers.sdk.errors import NoResult, TaskFailed

    return (MusterError, TaskFailed, NoResult)


def _usage_errors() -> _Kinds:
    from workers.bridge.errors import ExtraMissing
    from workers.sdk.errors import RoleError
    from workers.settings import SettingsError

    return (WrongUsage, SettingsError, RoleError, InvalidTopic, InvalidValue, ExtraMissing)


def _unreachable() -> _Kinds:
    from bus.errors import Closed, Full, Unreachable, Unsafe
    from deploy.errors import DeployError
    from knowledge.database.errors import DatabaseError
    from workers.bridge.errors import BridgeError
    from workers.fleet.errors import AlreadyUp, NotReady
    from workers.sdk.errors import ResourceFailed

    ours = (NotRecordedYet, DeployError, DatabaseError, AlreadyUp, NotReady, ResourceFailed)
    return (Unreachable, Full, Unsafe, Closed, BridgeError, *ours)


def _missing() -> _Kinds:
    from bus.errors import Unroutable
    from workers.sdk.errors import UnknownRole

    return (NotFound, Unroutable, UnknownRole)


def _refused() -> _Kinds:
    from bus import errors as bus
    from deploy.errors import FolderUnusable
    from workers.documents.errors import DocumentError
    from workers.fleet.errors import RoleInUse
    from workers.sdk.errors import InvalidPayload

    ours = (
        InvalidJson,
        PastDeadline,
        Unconfirmed,
        DecodeError,
        InvalidPayload,
        DocumentError,
        FolderUnusable,
    )
    theirs = (bus.AccessDenied, bus.Conflict, bus.NotDead, bus.ReplayRefused, bus.TooLarge)
    return (*ours, *theirs, bus.QuotaExceeded, Exists, RoleInUse)


def code_of(error: BaseException) -> int:
    """The exit code of `error`."""
    table = codes()
    return next((table[kind] for kind in type(error).__mro__ if kind in table), FAILED)


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Show `error` and return its exit code; with `debug` the traceback comes first."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if debug:
        traceback.print_exception(error)
    shown = described(error)
    if not (as_json and _told_as_json(shown)):
        typer.echo(three_lines(shown), err=True)
    return code_of(shown)


def _told_as_json(error: MusterError) -> bool:
    """Whether standard output took it; its disk may be full."""
    import json

    try:
        typer.echo(json.dumps({**error.as_json(), "exit_code": code_of(error)}))
    except OSError:
        return False
    return True


def described(error: BaseException) -> MusterError:
    """`error` as one of ours; one we did not foresee says where it came from."""
    if isinstance(error, MusterError):
        return error
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Interrupted("interrupted", details="Ctrl-C was pressed", actions=("nothing",))
    if isinstance(error, typer.TyperException):
        return _usage(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return MusterError(
        f"muster met an error of its own: {type(error).__name__}: {error}",
        details=f"it was not foreseen{where}",
        actions=("repeat it with --debug and report what you see",),
    )


def three_lines(error: MusterError) -> str:
    """What happened, why, what to do."""
    what, why, do = error.lines()
    return "\n".join(
        (
            f"error: {_short(what)}",
            f"  why: {_short(why) or 'no more is known'}",
            f"   do: {_short(do) or 'repeat it with --debug to see more'}",
        )
    )


def _short(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _usage(error: typer.TyperException) -> WrongUsage:
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context else "muster"
    usage = context.get_usage().partition("\n")[0].removeprefix("Usage: ") if context else path
    return WrongUsage(
        error.format_message().partition("\n")[0].replace(": Value error, ", ": "),
        details=f"expected: {usage}",
        actions=(f"see the options: `{path} --help`",),
    )
