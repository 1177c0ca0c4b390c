"""Plays a scenario: lines of commands and what is expected of each. The text is the documentation.

A line is `WHO: COMMAND WORDS -> EXPECTED WORDS`, or one of these:

* `at MS` - what entries are stamped with from here on
* `show KEY -> …`, `told -> …`, `due MS -> …`, `lonely -> …`, `silent WHO` - what can be read, and
  a bidder's connection that says nothing any more

Each expected word must be among the words of the answer; `-> nothing` expects none. A word with a
capital behind its `=` gives that value a name, which later words may use. Every entry is also
applied by a second replica, which is made from a snapshot before each of them: both must answer
alike and have the same state.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.ledger.answers import (
    Alive,
    Answer,
    Awarded,
    Done,
    Finished,
    Joined,
    Left,
    Opened,
    Refused,
    Renewed,
    Reopened,
    SessionOpened,
    Taken,
)
from consensus.ledger.commands import (
    Adopt,
    Cancel,
    Close,
    Command,
    Complete,
    Expire,
    ExpireSessions,
    Join,
    KeepAlive,
    Leave,
    Open,
    OpenSession,
    Pass,
    PlaceBid,
    RaiseVersion,
    Release,
    Renew,
    Tick,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import Entry, encode, is_of_leader
from consensus.ledger.ledger import Ledger
from contracts.auctions import Opening, Phase, RoundShown

_LINE = re.compile(r"(?:(?P<who>\w+): )?(?P<what>[^>]*?)(?:\s*-> (?P<expected>.*))?\Z")
_NAME = re.compile(r"([a-z]+)=([A-Z]\w*)\Z")


class NotAsWritten(AssertionError):
    """A line whose answer is another one than the scenario says."""


def digest(text: str) -> bytes:
    """What stands for a hash that is called `text` in a scenario."""
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Actor:
    """A client: its session, the next `seq`."""

    session: int = 0
    seq: int = 0


@dataclass
class Stage:
    """A ledger, those who speak to it, and the names that the text has given to values."""

    make: Callable[[], Ledger] = Ledger
    now: int = 0
    index: int = 0
    actors: dict[str, Actor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = self.make()

    def play(self, text: str) -> int:
        """Play all lines; how many entries they were. Raises `NotAsWritten`."""
        for number, line in enumerate(text.splitlines(), 1):
            bare = line.partition("#")[0].strip()
            if bare:
                self._line(number, bare)
        return self.index

    def _line(self, number: int, line: str) -> None:
        match = _LINE.match(line)
        assert match, f"line {number} cannot be read: {line}"
        words = [self._named(word) for word in match["what"].split()]
        found = self._do(match["who"], words) if match["who"] else self._ask(words)
        if match["expected"] is not None:
            self._compare(number, line, match["expected"].split(), found.split())

    def _compare(self, number: int, line: str, expected: list[str], found: list[str]) -> None:
        values = dict(word.split("=", 1) for word in found if "=" in word)
        for word in expected:
            name = _NAME.match(word)
            if name and name[2] not in self.names and name[1] in values:
                self.names[name[2]] = values[name[1]]
        wanted = [self._named(word) for word in expected]
        if wanted == ["nothing"]:
            wanted = []
            if found:
                raise NotAsWritten(f"line {number}: {line}\n  there is: {' '.join(found)}")
        missing = [word for word in wanted if word not in found]
        if missing:
            raise NotAsWritten(f"line {number}: {line}\n  the answer is: {' '.join(found)}")

    def _named(self, word: str) -> str:
        head, sign, value = word.rpartition("=")
        return f"{head}{sign}{self.names.get(value, value)}"

    def _ask(self, words: list[str]) -> str:
        match words:
            case ["at", when]:
                self.now = int(when)
                return ""
            case ["show", key]:
                return self._shown(key)
            case ["told"]:
                told, self.told = " ".join(self.told), []
                return told
            case ["due", when]:
                return " ".join(self._due(c) for c in self.ledger.agenda.due(int(when)))
            case ["lonely"]:
                return " ".join(f"{role}={n}" for role, n in self.ledger.views.lonely().items())
            case ["silent", who]:
                return self._dismiss(who)
        raise AssertionError(f"no such line: {words}")

    def _do(self, who: str, words: list[str]) -> str:
        actor = self.actors.setdefault(who, Actor())
        verb, *rest = words
        plain = [word for word in rest if "=" not in word]
        named = dict(word.split("=", 1) for word in rest if "=" in word)
        seq = int(named.pop("seq", actor.seq))
        acked = int(named.pop("acked", seq))
        command = _COMMANDS[verb](who, plain, named)
        if isinstance(command, OpenSession) or is_of_leader(command):
            entry = Entry(self.now, command)
        else:
            actor.seq = max(actor.seq, seq + 1)
            session = int(named.get("session", actor.session))
            entry = Entry(self.now, command, session, seq, acked)
        return self._apply(entry, actor)

    def _apply(self, entry: Entry, actor: Actor | None = None) -> str:
        self.index += 1
        data = encode(entry)
        twin = self.make()
        twin.restore(self.ledger.snapshot())
        answer = self.ledger.apply(self.index, data)
        assert twin.apply(self.index, data) == answer, "a replica from a snapshot answers otherwise"
        assert twin.hash() == self.ledger.hash(), "a replica from a snapshot has another state"
        for one in self.ledger.take_told():
            kind = "opening" if isinstance(one, Opening) else "won"
            self.told.append(f"{kind}:{self._worker(one.session)}:{one.key}")
        if actor and isinstance(answer, SessionOpened):
            if answer.session != actor.session:
                actor.seq = 0
            actor.session = answer.session
        return rendered(answer)

    def _dismiss(self, who: str) -> str:
        found = self.ledger.agenda.dismissal(self.actors[who].session)
        return self._apply(Entry(self.now, found)) if found else "no bidder"

    def _worker(self, session: int) -> str:
        known = self.ledger.state.sessions.get(session)
        return known.worker if known else "?"

    def _due(self, command: Command) -> str:
        if isinstance(command, Close):
            return f"close:{command.key}:{command.round}"
        return f"expire:{command.key}" if isinstance(command, Expire) else type(command).__name__

    def _shown(self, key: str) -> str:
        found = self.ledger.views.auction(key)
        if found is None:
            return "unknown"
        words = [found.phase.name, f"round={found.round}", f"deadline={found.deadline}"]
        words.append(f"asked={','.join(sorted(found.asked))}")
        if award := found.award:
            words += [award.worker, f"token={award.token}", f"until={award.lease_until}"]
            words.append(f"number={award.number}")
        if found.lapsed:
            words.append("lapsed")
        if found.last_round:
            words += _round(found.last_round)
        return " ".join(words)


def rendered(answer: Answer) -> str:  # noqa: C901, PLR0911, PLR0912 - a line for each kind
    """An answer in words."""
    match answer:
        case SessionOpened(session):
            return f"session={session}"
        case Alive(roles):
            return f"alive roles={','.join(roles)}"
        case Joined() | Left():
            return type(answer).__name__.lower()
        case Opened(index, deadline):
            return f"opened index={index} deadline={deadline}"
        case Taken(round_):
            return f"taken round={round_}"
        case Awarded(token, _, worker, until):
            return f"awarded {worker} token={token} until={until}"
        case Reopened(round_, deadline, asked):
            return f"reopened round={round_} deadline={deadline} asked={asked}"
        case Renewed(until):
            return f"renewed until={until}"
        case Finished(phase, token):
            return f"{phase.name.lower()} token={token}"
        case Done(count):
            return f"done count={count}"
        case Refused(why, phase, round_):
            where = f" {Phase(phase).name} round={round_}" if phase else ""
            return f"refused {why.name}{where}"


def _round(last: RoundShown) -> list[str]:
    bids = [f"{b.worker}:{'pass' if b.passed else f'{b.score}/{b.cost}'}" for b in last.bids]
    why = [f"{b.worker}-says-{b.parts.decode()}" for b in last.bids if b.parts]
    return [f"last={last.round}", f"of={last.asked}", f"bids={','.join(bids)}", *why]


def _open(_: str, plain: list[str], named: dict[str, str]) -> Open:
    return Open(
        plain[0],
        plain[1] if len(plain) > 1 else "review",
        int(named.get("window", "100")),
        int(named.get("lease", "1000")),
        int(named.get("max", "3")),
        digest(named.get("spec", plain[0])),
    )


def _join(_: str, plain: list[str], named: dict[str, str]) -> Join:
    skills = tuple(sorted(filter(None, named.get("skills", "").split(","))))
    return Join(plain[0] if plain else "review", skills, int(named.get("slots", "1")))


def _bid(_: str, plain: list[str], named: dict[str, str]) -> PlaceBid:
    score, cost = Signed(int(named.get("score", "0"))), int(named.get("cost", "0"))
    return PlaceBid(plain[0], _number(named, "round"), score, cost, _why(named))


def _number(named: dict[str, str], name: str) -> int:
    return int(named.get(name, "1"))


def _why(named: dict[str, str]) -> bytes:
    return named.get("why", "").encode()


def _result(named: dict[str, str]) -> bytes:
    return digest(named.get("result", "done"))


_COMMANDS: dict[str, Callable[[str, list[str], dict[str, str]], Command]] = {
    "session": lambda who, _, n: OpenSession(digest(who + n.get("nonce", ""))[:16], who),
    "alive": lambda *_: KeepAlive(),
    "join": _join,
    "leave": lambda _, p, _n: Leave(p[0] if p else "review"),
    "open": _open,
    "bid": _bid,
    "pass": lambda _, p, n: Pass(p[0], _number(n, "round"), _why(n)),
    "renew": lambda _, p, n: Renew(p[0], int(n["token"])),
    "complete": lambda _, p, n: Complete(p[0], int(n["token"]), _result(n)),
    "adopt": lambda _, p, n: Adopt(p[0], int(n["token"]), _result(n)),
    "release": lambda _, p, n: Release(p[0], int(n["token"])),
    "cancel": lambda _, p, _n: Cancel(p[0]),
    "close": lambda _, p, n: Close(p[0], _number(n, "round")),
    "expire": lambda _, p, n: Expire(p[0], int(n["token"])),
    "expire-sessions": lambda *_: ExpireSessions(),
    "tick": lambda *_: Tick(),
    "raise-version": lambda _, p, _n: RaiseVersion(int(p[0])),
}
