"""Errors as a person sees them: three short lines, and an exit code by their class."""

import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import typer

from contracts.errors import InvalidValue, MusterError

FAILED, USAGE, UNREACHABLE, MISSING, REFUSED, INTERRUPTED = 1, 2, 3, 4, 5, 130

_LONGEST = 300
"""Characters of one of the three lines."""


class WrongUsage(MusterError):
    """Options or arguments that do not go together, or a name that cannot be one."""


class NotFound(MusterError):
    """There is nothing of this name or id."""


class InvalidJson(MusterError):
    """Text that is not JSON; the details say where."""


class PastDeadline(InvalidValue):
    """A deadline that has passed, or passes before the task may start."""


class Interrupted(MusterError):
    """Ctrl-C, where there is more to say than that."""


class RolesBroken(MusterError):
    """`doctor` found roles that cannot be used."""


def codes() -> Mapping[type[BaseException], int]:
    """The exit code of each class of error; the nearest class of an error decides."""
    from bus import errors as bus
    from contracts import errors as contracts
    from deploy import errors as deploy
    from workers.documents import errors as documents
    from workers.fleet import errors as fleet
    from workers.sdk import errors as sdk
    from workers.settings import SettingsError

    return {
        MusterError: FAILED,
        sdk.TaskFailed: FAILED,
        sdk.NoResult: FAILED,
        WrongUsage: USAGE,
        SettingsError: USAGE,
        sdk.RoleError: USAGE,
        RolesBroken: USAGE,
        contracts.InvalidTopic: USAGE,
        contracts.InvalidValue: USAGE,
        bus.Unreachable: UNREACHABLE,
        bus.Full: UNREACHABLE,
        bus.Unsafe: UNREACHABLE,
        bus.Closed: UNREACHABLE,
        deploy.DeployError: UNREACHABLE,
        fleet.AlreadyUp: UNREACHABLE,
        fleet.NotReady: UNREACHABLE,
        bus.Unroutable: MISSING,
        sdk.UnknownRole: MISSING,
        NotFound: MISSING,
        InvalidJson: REFUSED,
        PastDeadline: REFUSED,
        sdk.InvalidPayload: REFUSED,
        contracts.DecodeError: REFUSED,
        bus.TooLarge: REFUSED,
        bus.AccessDenied: REFUSED,
        bus.Conflict: REFUSED,
        bus.NotDead: REFUSED,
        bus.ReplayRefused: REFUSED,
        documents.DocumentError: REFUSED,
        deploy.FolderUnusable: REFUSED,
        Interrupted: INTERRUPTED,
    }


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
    if as_json:
        import json

        typer.echo(json.dumps({**shown.as_json(), "exit_code": code_of(shown)}))
    else:
        typer.echo(three_lines(shown), err=True)
    return code_of(shown)


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
        error.format_message().partition("\n")[0],
        details=f"expected: {usage}",
        actions=(f"see the options: `{path} --help`",),
    )
