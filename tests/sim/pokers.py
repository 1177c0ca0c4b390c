"""Clients that do anything: they open, bid, renew, complete, give back, cancel and read at random,
in time or not, with tokens old and new."""

import hashlib
from typing import Any

from consensus.ledger.answers import Alive, Awarded, Renewed
from consensus.ledger.commands import (
    Adopt,
    Cancel,
    Command,
    Complete,
    Join,
    KeepAlive,
    Open,
    Pass,
    PlaceBid,
    Release,
    Renew,
)
from consensus.ledger.encoding import Signed
from contracts.auctions import Opening, Won
from tests.sim.caller import Caller
from tests.sim.clockwork import MS
from tests.sim.surroundings import Surroundings

ROLE = "poke"


class Poker:
    """A client with up to three questions at a time. It crashes when the nemesis says so, and comes
    back under another session."""

    def __init__(self, world: Surroundings, number: int) -> None:
        self.world = world
        self.rng = world.rng
        self.number = number
        self.life = 0
        self.known: dict[str, int] = {}
        self._begin()

    def start(self) -> None:
        """Begin another life, if this one is over."""
        if self.caller.gone:
            self._begin()

    def _begin(self) -> None:
        self.life += 1
        client = -(self.number * 1000 + self.life)
        self.caller = Caller(self.world, client, f"poker-{self.number}.{self.life}")
        self.caller.on_told = self._told
        self.busy = 0
        self.caller.begin(self._joined)

    def crash(self) -> None:
        """The process ends."""
        self.caller.crash()

    def _joined(self) -> None:
        self._say(Join(ROLE, (), self.rng.choice([1, 2])))
        self._poke(self.caller)

    def _poke(self, caller: Caller) -> None:
        if caller.gone:
            return
        if self.busy < 3 and self.world.pokes:
            self._anything()
        self.world.clockwork.after(self.rng.randrange(20 * MS, 300 * MS), self._poke, caller)

    def _anything(self) -> None:
        rng, options = self.rng, self.world.options
        key = f"key-{rng.randrange(options.keys * (1 + self.world.clockwork.now // 3_000_000))}"
        token = self.known.get(key, 0) - (rng.random() < 0.1)
        draw = rng.random()
        if draw < 0.3:
            self._look(key)
        elif draw < 0.55:
            spec = hashlib.sha256(key.encode()).digest()
            self._say(Open(key, ROLE, options.window_ms, options.lease_ms, 3, spec))
        elif draw < 0.65 or token <= 0:
            self._say(KeepAlive())
        else:
            self._say(self._with_token(key, token))

    def _with_token(self, key: str, token: int) -> Command:
        result = hashlib.sha256(f"{key} {token}".encode()).digest()
        choices: list[tuple[Command, int]] = [
            (Renew(key, token), 6),
            (Complete(key, token, result), 4),
            (Adopt(key, token, result), 1),
            (Release(key, token), 2),
            (Cancel(key), 1),
        ]
        commands, weights = zip(*choices, strict=True)
        chosen: Command = self.rng.choices(commands, weights)[0]
        return chosen

    def _told(self, one: Opening | Won) -> None:
        if isinstance(one, Won):
            self.known[one.key] = max(one.token, self.known.get(one.key, 0))
            if self.rng.random() < 0.8:
                self._say(Renew(one.key, one.token))
        elif not self.world.pokes:
            return
        elif self.rng.random() < 0.7:
            score = Signed(self.rng.randrange(-3, 3))
            self._say(PlaceBid(one.key, one.round, score, self.rng.randrange(3), b"why"))
        elif self.rng.random() < 0.5:
            self._say(Pass(one.key, one.round, b""))

    def _say(self, command: Command) -> None:
        self.busy += 1
        self.caller.call(command, self._heard(command))

    def _look(self, key: str) -> None:
        self.busy += 1
        self.caller.look(key, self._heard(None))

    def _heard(self, command: Command | None) -> Any:
        def heard(answer: Any) -> None:
            self.busy -= 1
            if isinstance(answer, Alive) and ROLE not in answer.roles:
                self._say(Join(ROLE, (), 1))
            if isinstance(answer, Awarded | Renewed) and isinstance(command, Renew):
                self.known[command.key] = max(command.token, self.known.get(command.key, 0))
            elif command is None and answer is not None and answer.award is not None:
                self.known[answer.key] = answer.award.token

        return heard
