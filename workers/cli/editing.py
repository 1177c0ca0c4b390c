"""`muster dlq edit`: another payload for a dead letter, checked before it is taken."""

import difflib
import hashlib
import json
import sys
import time
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from contracts.errors import MusterError
from workers.cli import choosing, output
from workers.cli.connected import with_bus
from workers.cli.editor import Draft
from workers.cli.errors import InvalidJson, three_lines
from workers.cli.options import Given
from workers.cli.payloads import Payload, parse, read
from workers.cli.steering import confirm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.bus import Bus
    from bus.deadletters import DeadLetter
    from contracts.deeds import Action, Deed
    from workers.sdk.role import Role
    from workers.settings import Loaded


@dataclass(frozen=True, slots=True)
class Wish:
    """Which letter is to be changed, and how. `payload`: instead of an editor; `keep`: change it
    without replaying it."""

    task: str
    role: str | None
    _: KW_ONLY
    payload: str | None
    keep: bool
    force: bool
    yes: bool


def change(given: Given, wish: Wish) -> int:
    """Change the letter, and replay it. The exit code. Raises `NotDead`, `ReplayRefused`,
    `InvalidJson`, `InvalidPayload`, `TooLarge`, `Conflict` where somebody else was quicker, and
    `Interrupted` for a no; then nothing was changed."""
    from bus.deadletters import guard

    letter = with_bus(given, lambda bus: _letter(bus, wish))
    if not wish.keep:
        guard(letter, force=wish.force)
    role = role_of(given.loaded(), letter.group)
    if wish.payload is not None:
        (payload,) = read(wish.payload, lines=False)
        check(role, payload)
        _ask(letter, payload, wish)
        return _take(given, wish, letter, payload)
    with Draft.of(letter.id, _text(letter)) as draft:
        found = _edited(draft, role)
        if found is None:
            output.note("the payload is as it was; nothing was done")
            return 0
        _ask(letter, found, wish)
        return _take(given, wish, letter, found)


async def _letter(bus: "Bus", wish: Wish) -> "DeadLetter":
    (letter,) = await choosing.named(bus, [wish.task], wish.role, done="edited")
    return letter


def role_of(loaded: "Loaded", name: str) -> "Role | None":
    """The role, where its code is here; a note says where it is not."""
    from workers.sdk.errors import RoleError
    from workers.wiring import all_roles

    try:
        role = all_roles(loaded).get(name)
    except RoleError as error:
        output.note(f"the payload is not checked here: {error}")
        return None
    if role is None:
        output.note(f"the payload is not checked here: the code of role {name} is elsewhere")
    return role


def _text(letter: "DeadLetter") -> str:
    """The payload as it is edited. Raises `InvalidJson` for bytes that are no text."""
    try:
        text = letter.body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(
            f"the payload of {letter.id} is no text",
            details=f"byte {error.start} is not UTF-8",
            actions=(f"give another: `muster dlq edit {letter.id} --payload @FILE`",),
        ) from error
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    except (ValueError, RecursionError):
        return text


def _edited(draft: Draft, role: "Role | None") -> Payload | None:
    """What the editor made of it; None if it is as it was. A person may mend what is wrong."""
    while True:
        text = draft.edit()
        if text == draft.before:
            return None
        try:
            payload = Payload(parse(text))
            check(role, payload)
        except MusterError as error:
            if not _again(error):
                raise
        else:
            return payload


def check(role: "Role | None", payload: Payload) -> None:
    """Raise `InvalidPayload` for what the role, if its code is here, does not accept."""
    if role is not None:
        role.read(payload.encoded())


def _again(error: MusterError) -> bool:
    """Whether a person wants to edit it once more."""
    if not sys.stdin.isatty():
        return False
    output.note(three_lines(error))
    output.note("edit it again? [Y/n] ", end="")
    return sys.stdin.readline().strip().lower() in {"", "y", "yes"}


def _ask(letter: "DeadLetter", payload: Payload, wish: Wish) -> None:
    for line in difference(letter, payload):
        output.note(line)
    what = "Keep this change" if wish.keep else "Replay it so"
    confirm(f"{what}: {letter.id} of {letter.group}?", yes=wish.yes)


def difference(letter: "DeadLetter", payload: Payload) -> list[str]:
    """What is changed, line by line, as it may be shown."""
    before, after = _lines(letter.body), _lines(payload.encoded())
    lines = difflib.unified_diff(before, after, "as it died", "as changed", lineterm="", n=2)
    return [output.printable(line) for line in lines]


def _lines(body: bytes) -> "Sequence[str]":
    text = body.decode("utf-8", "replace")
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text.splitlines()
    return text.splitlines()


async def take(
    bus: "Bus",
    letter: "DeadLetter",
    payload: Payload,
    *,
    now: float,
    keep: bool = False,
    force: bool = False,
) -> None:
    """Give the letter this payload and, unless it is to `keep` it, replay it. Raises as `change`;
    where only the replay was refused, the error says that the change is kept."""
    from contracts.deeds import Action

    after = payload.encoded()
    edited = _deed(Action.EDIT, letter, before=_print(letter.body), after=_print(after))
    await bus.dead.edit(letter, after, by=edited.by, now=now)
    await bus.tell_deed(edited)
    if keep:
        return
    deed, replay = _deed(Action.REPLAY, letter, forced=force), bus.dead.replay
    try:
        await replay(letter.group, letter.id, now=now, force=force, by=deed.by, deed=deed)
    except MusterError as error:
        error.details += "; the change is kept with the dead letter"
        raise


def _take(given: Given, wish: Wish, letter: "DeadLetter", payload: Payload) -> int:
    keep, force = wish.keep, wish.force

    async def run(bus: "Bus") -> None:
        await take(bus, letter, payload, now=time.time(), keep=keep, force=force)

    with_bus(given, run)
    done = "edited" if wish.keep else "edited and replayed"
    if given.json:
        output.as_json_line({"id": letter.id, "role": letter.group, "done": done})
    else:
        output.say(f"{done} {letter.id} of {letter.group}")
    return 0


def _deed(action: "Action", letter: "DeadLetter", **said: Any) -> "Deed":
    from contracts.deeds import Scope
    from workers.fleet.operator import deed

    made = deed(action, time.time(), Scope.LETTERS, role=letter.group, **said)
    return made.to(letter.id, letter.group, letter.copy)


def _print(body: bytes) -> str:
    """What a payload is known by: its words are not for an audit."""
    return f"{len(body)} bytes, sha256 {hashlib.sha256(body).hexdigest()[:16]}"
