"""What replay and purge of dead letters share: whom they mean, how they tell, how they end."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from contracts.errors import MusterError
from workers.cli import choosing, letters, output
from workers.cli.bulk import Bulk, Tally, bar
from workers.cli.choosing import Choice
from workers.cli.connected import with_bus
from workers.cli.errors import Interrupted, report
from workers.cli.options import Given
from workers.cli.steering import confirm

if TYPE_CHECKING:
    from bus.bus import Bus
    from bus.deadletters import DeadLetter
    from contracts.limits import Rate

_ERRORS_SHOWN = 5
"""Refusals of one command that are shown in three lines each; the others are counted."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with each letter: its name, what is said of it afterwards, the deed. `options`
    are those a person has to type again to go on; `guard`: letters replayed often are refused;
    `asks`: a person is asked before many are done; `waits`: afterwards they wait for whoever
    works on their group."""

    name: str
    done: str
    act: "Callable[[Bus, DeadLetter], Awaitable[None]]"
    _: KW_ONLY
    rate: "Rate | None" = None
    options: str = ""
    guard: bool = False
    asks: bool = False
    waits: bool = False


def do_with(
    given: Given, tasks: Sequence[str], choice: Choice, order: Order, *, dry_run: bool
) -> int:
    """Do `order` with the letters named, else with all that are meant. The exit code."""
    began = time.time()

    async def meant(bus: "Bus") -> "list[DeadLetter]":
        if tasks:
            return await choosing.named(bus, tasks, choice.role, done=order.done)
        return await choosing.chosen(bus, choice) or await _none(bus, choice)

    if dry_run:
        return _show(given, with_bus(given, meant), order)
    if order.asks and not tasks:
        asked, choice = choice, choice.until(began)  # those the person is told of
        count = len(with_bus(given, meant))
        confirm(f"{order.name.capitalize()} {_many(count)}{_of(asked)} for good?", yes=not count)

    async def run(bus: "Bus") -> int:
        found = await meant(bus)
        teller = _Teller(given, order)
        tally = await _do(bus, found, order, teller)
        if tally.stopped:
            resume = "" if tasks else f" {choice.until(began).options()}"
            raise _interrupted(tally, order, resume)
        teller.sum_up(tally, many=not tasks)
        if order.waits and tally.done and not given.json:
            await _tell_who_waits(bus, found)
        return teller.code

    return with_bus(given, run)


async def _tell_who_waits(bus: "Bus", found: "Sequence[DeadLetter]") -> None:
    """Only a bridge of the same name takes back what was refused by one."""
    from workers.bridge.places import BRIDGE
    from workers.fleet.presence import present

    groups = {letter.group for letter in found if letter.group.startswith(BRIDGE)}
    working = {one.role for one in await present(bus.store)} if groups else set()
    for group in sorted(groups - working):
        output.note(f"{group} does not run: what it is given back waits until it does")


async def _none(bus: "Bus", choice: Choice) -> "list[DeadLetter]":
    """No letters; raises `UnknownRole` where the role that was named is not there either."""
    if choice.role is not None:
        from contracts.clock import SystemClock
        from workers.fleet.steering import Steering

        await Steering(bus, SystemClock()).waiting(choice.role)
    return []


async def _do(bus: "Bus", found: "Sequence[DeadLetter]", order: Order, teller: "_Teller") -> Tally:
    from bus import errors

    fatal = (errors.Unreachable, errors.Closed, errors.Full, errors.AccessDenied)
    with bar(order.name, len(found)) as advance:
        teller.advance = advance
        bulk = Bulk(
            found,
            lambda letter: order.act(bus, letter),
            teller.tell,
            fatal=fatal,
            rate=order.rate,
        )
        try:
            return await bulk.run()
        except fatal as error:
            tally = bulk.tally
            if tally.whole > 1:
                error.details += f"; {tally.done} of {tally.whole} were {order.done} before"
            raise


class _Teller:
    """Says what became of each letter, and of all. `advance` moves the bar, where there is one."""

    def __init__(self, given: Given, order: Order) -> None:
        self.advance: Callable[[], None] | None = None
        self.code = 0
        self._given = given
        self._order = order
        self._refused = 0

    def tell(self, letter: "DeadLetter", error: MusterError | None) -> None:
        if self.advance is not None:
            self.advance()
        if error is not None:
            self._refuse(error)
        elif self._given.json:
            said = {"id": letter.id, "role": letter.group, "done": self._order.done}
            output.as_json_line(said)
        elif self.advance is None:
            output.say(f"{self._order.done} {letter.id} of {letter.group}")

    def _refuse(self, error: MusterError) -> None:
        from workers.cli.errors import code_of

        self._refused += 1
        self.code = max(self.code, code_of(error))
        if self._given.json or self._refused <= _ERRORS_SHOWN:
            report(error, as_json=self._given.json, debug=self._given.debug)

    def sum_up(self, tally: Tally, *, many: bool) -> None:
        if many and not self._given.json:
            refused = f", {tally.refused} refused" if tally.refused else ""
            output.note(f"{self._order.done} {tally.done} of {tally.whole}{refused}")


def _show(given: Given, found: "Sequence[DeadLetter]", order: Order) -> int:
    """What would be done, and to how many it would be refused."""
    from bus.deadletters import MAX_REPLAYS

    refused = [x for x in found if order.guard and x.replays >= MAX_REPLAYS]
    if given.json:
        would = [{**letters.shape(x), "would": _would(x in refused, order)} for x in found]
        output.as_json(would)
        return 0
    letters.table(found, time.time())
    more = f", {len(refused)} of them refused: replayed often" if refused else ""
    output.note(f"would be {order.done}: {_many(len(found))}{more}; nothing was done")
    return 0


def _would(refused: bool, order: Order) -> str:
    return "refused" if refused else order.done


def _many(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _of(choice: Choice) -> str:
    options = choice.options()
    return f" ({options})" if options else ""


def _interrupted(tally: Tally, order: Order, resume: str) -> Interrupted:
    again = f"muster dlq {order.name}{resume}{order.options}"
    return Interrupted(
        f"interrupted: {tally.done} of {tally.whole} {order.done}, {tally.refused} refused",
        details=f"nothing is half done: the other {tally.left} are as they were",
        actions=(f"go on: `{again}`" if resume else "repeat it with the ids that are left",),
    )
