"""Which dead letters a command means: by id, or by what they are."""

import shlex
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import MusterError
from contracts.outcomes import Reason
from workers.cli import completing, times
from workers.cli.errors import WrongUsage

if TYPE_CHECKING:
    from bus.bus import Bus
    from bus.deadletters import DeadLetter

SHORTEST = 8
"""Characters of an id that stand for the whole one."""

RoleOption = Annotated[
    str | None,
    typer.Option("--role", help="Only of this role.", autocompletion=completing.roles),
]
ReasonOption = Annotated[Reason | None, typer.Option("--reason", help="Only of this reason.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="Only of this tenant.")]
TextOption = Annotated[
    str | None, typer.Option("--text", help="Only with this in error, topic or payload.")
]
OlderOption = Annotated[
    str | None,
    typer.Option("--older", metavar="AGE|TIME", help="Only dead for longer than 1h, 2d, …"),
]
NewerOption = Annotated[
    str | None,
    typer.Option("--newer", metavar="AGE|TIME", help="Only dead for less than 1h, 2d, …"),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the letters meant have in common; None says nothing. `before` and `since`: when they
    died, UTC epoch seconds."""

    role: str | None = None
    _: KW_ONLY
    reason: Reason | None = None
    tenant: str | None = None
    text: str | None = None
    before: float | None = None
    since: float | None = None

    @classmethod
    def of(
        cls,
        role: str | None,
        *,
        reason: Reason | None,
        tenant: str | None,
        text: str | None,
        older: str | None,
        newer: str | None,
        now: float,
    ) -> "Choice":
        """What the options mean at `now`. Raises `WrongUsage`."""
        return cls(
            role,
            reason=reason,
            tenant=tenant,
            text=text,
            before=times.past(older, "--older", now=now) if older is not None else None,
            since=times.past(newer, "--newer", now=now) if newer is not None else None,
        )

    @property
    def narrows(self) -> bool:
        """Whether it says more than the role."""
        return self != Choice(self.role)

    def takes(self, letter: "DeadLetter") -> bool:
        """Whether `letter` is meant."""
        return (
            self.role in {None, letter.group}
            and self.reason in {None, letter.reason}
            and self.tenant in {None, letter.tenant}
            and (self.before is None or letter.died < self.before)
            and (self.since is None or letter.died >= self.since)
            and (self.text is None or _says(letter, self.text.casefold()))
        )

    def until(self, moment: float) -> "Choice":
        """The same, of what was dead at `moment`."""
        return self if self.before is not None else replace(self, before=moment)

    def options(self) -> str:
        """As a person would type it."""
        given = {
            "--role": self.role,
            "--reason": self.reason,
            "--tenant": self.tenant,
            "--text": self.text,
            "--older": None if self.before is None else _iso(self.before),
            "--newer": None if self.since is None else _iso(self.since),
        }
        words = [(name, str(value)) for name, value in given.items() if value is not None]
        return " ".join(shlex.quote(word) for pair in words for word in pair)


def _says(letter: "DeadLetter", text: str) -> bool:
    body = letter.body.decode("utf-8", "replace")
    return any(text in each.casefold() for each in (letter.error, letter.topic, body))


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def check(tasks: Sequence[str], choice: Choice, *, every: bool) -> None:
    """Raise `WrongUsage` unless either ids are given, or what all the letters meant are."""
    several = every or choice.narrows
    if bool(tasks) == several:
        raise WrongUsage(
            "say which dead letters are meant",
            details="either ids, or --reason, --tenant, --text, --older, --newer, "
            "or --all with --role",
            actions=("list them: `muster dlq ls`",),
        )
    if every and not choice.narrows and choice.role is None:
        raise WrongUsage(
            "--all alone would mean every role",
            details="either one role, or what the letters of all roles have in common",
            actions=("add --role, --reason, --tenant, --text, --older or --newer",),
        )


async def chosen(bus: "Bus", choice: Choice) -> "list[DeadLetter]":
    """The letters meant, the first to die first, without their bodies: many may be large."""
    found = [x async for x in bus.dead.all(choice.role or "") if choice.takes(x)]
    return sorted((replace(x, body=b"") for x in found), key=lambda x: x.died)


async def named(
    bus: "Bus", tasks: Sequence[str], role: str | None, *, done: str
) -> "list[DeadLetter]":
    """One letter for each id, or beginning of one, whole; they are to be `done`, such as replayed.
    Raises `NotDead` for what is none, and `WrongUsage` for what is several."""
    wanted = dict.fromkeys(tasks)
    letters = [x async for x in bus.dead.all(role or "") if _begins(x.id, wanted)]
    return [_only(task, role, letters, done) for task in wanted]


async def find(bus: "Bus", task: str, role: str | None) -> "list[DeadLetter]":
    """The letters of one task: one per role in which it died; none is no error. Raises
    `WrongUsage` where the beginning of an id stands for several."""
    letters = [x async for x in bus.dead.all(role or "") if _begins(x.id, [task])]
    return _of(task, letters)


def _begins(id_: str, tasks: Sequence[str] | dict[str, None]) -> bool:
    return any(id_ == task or (len(task) >= SHORTEST and id_.startswith(task)) for task in tasks)


def _of(task: str, letters: "Sequence[DeadLetter]") -> "list[DeadLetter]":
    exact = [letter for letter in letters if letter.id == task]
    begun = exact or [letter for letter in letters if _begins(letter.id, [task])]
    ids = sorted({letter.id for letter in begun})
    if len(ids) > 1:
        raise WrongUsage(
            f"{task} begins the ids of {len(ids)} dead letters",
            details=", ".join(ids[:4]),
            actions=("write more of the id",),
        )
    return begun


def _only(task: str, role: str | None, letters: "Sequence[DeadLetter]", done: str) -> "DeadLetter":
    found = _of(task, letters)
    if not found:
        raise _not_dead(task, role, done)
    if len(found) > 1:
        raise WrongUsage(
            f"{task} is a dead letter of several roles",
            details=", ".join(letter.group for letter in found),
            actions=("say which with --role",),
        )
    return found[0]


def _not_dead(task: str, role: str | None, done: str) -> MusterError:
    from bus.errors import NotDead

    of = f" of {role}" if role else ""
    return NotDead(
        f"{task} is not a dead letter{of}: it cannot be {done}",
        details="it was never dead, or has been replayed or purged already",
        actions=("list them: `muster dlq ls`",),
    )
