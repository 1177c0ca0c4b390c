"""What the demo shows. Every figure comes from events, history or the clock of this machine."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from contracts.events import TERMINAL, Event, Kind
from workers.cli.demo.chaos import VICTIMS, BrokerKilled, Killed, Recovery
from workers.cli.demo.letter import Mended
from workers.cli.timeline import WIDTH, Row, bar, rows
from workers.documents.model import Brief

_NEXT = """\
  make demo ARGS="--folder PATH --ask 'your question'"   your own documents
  make demo ARGS="--chaos"                               the same, with kill -9 on the way
  .venv/bin/muster new role greeter                      a role of your own
  .venv/bin/muster up                                    the whole fleet, supervised
  .venv/bin/muster publish greeter.hello '{"text": "hello"}' --wait"""


class Screen:
    """A console, and the moment from which it counts. With `as_json` all of it is beside the
    result, on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.console = Console(stderr=as_json, highlight=False)
        self.began = 0.0
        self.live = True

    def say(self, text: str) -> None:
        """A line as it stands."""
        self.console.print(text, markup=False, soft_wrap=True)

    def event(self, event: Event) -> None:
        """What a watcher reads about an event, as it comes; nothing of what would only repeat,
        and nothing at all unless it is `live`."""
        if not self.live:
            return
        if event.kind is Kind.PROGRESS:
            self._line(event.at, event.role, event.pid, str(event.data.get("note", "")))
        elif event.kind in {Kind.RETRIED, Kind.FAILED}:
            said = f"{event.kind}: {event.data.get('reason', '')}"
            self._line(event.at, event.role, event.pid, said)

    def chaos(self, what: Killed | Recovery) -> None:
        """A kill or a recovery, as it happens."""
        if isinstance(what, Recovery):
            self._back(what)
        else:
            self._line(
                what.at, _name(what), what.pid, f"KILLED -9: {_middle(what)}", style="bold red"
            )

    def restarted(self, at: float, name: str, pid: int) -> None:
        """A server was started again."""
        name = "broker" if name == "bus" else name
        self._line(at, name, pid, "started again by its keeper", style="green")

    def _back(self, it: Recovery) -> None:
        at, role, pid = it.sign.at, it.sign.role, it.sign.pid
        if it.after is None:
            said = "had ended before the kill: nothing was interrupted"
        elif isinstance(it.killed, BrokerKilled):
            at = it.killed.at + it.after
            said = f"the first task is settled, {it.after:.2f} s after the broker was killed"
        else:
            said = f"has it again, attempt {it.sign.attempt}, {it.after:.2f} s after the kill"
        self._line(at, role, pid, said, style="green")

    def _line(self, at: float, who: str, pid: int, text: str, *, style: str = "") -> None:
        line = f"{at - self.began:6.2f} s  {who:<12} {pid:>7}  {text}"
        self.console.print(line, style=style, markup=False)

    def brief(self, brief: Brief) -> None:
        """The result."""
        self.console.rule("the brief")
        if self.console.is_terminal:
            self.console.print(Markdown(brief.markdown))
        else:
            self.console.print(brief.markdown, markup=False, soft_wrap=True)

    def kills(self, recovered: Sequence[Recovery], told: Sequence[Event]) -> None:
        """All kills and what came of them. `told`: of the tasks that were to survive them."""
        self.console.rule("what was killed, and when work went on")
        table = Table("killed -9", "process", "when", "where work went on", "after", box=None)
        for it in sorted(recovered, key=lambda it: it.killed.at):
            after = "" if it.after is None else f"{it.after:.2f} s"
            killed = it.killed
            table.add_row(_name(killed), str(killed.pid), _middle(killed), _sign(it), after)
        self.console.print(table)
        survived = [who for who in VICTIMS if who not in {_name(it.killed) for it in recovered}]
        if survived:
            self.say(f"the job was over before it was the turn of: {', '.join(survived)}")
        ends = Counter(event.task for event in told if event.kind in TERMINAL)
        tasks = len({event.task for event in told})
        twice = sum(count > 1 for count in ends.values())
        again = f"{twice} of them twice: a task runs at least once" if twice else "each once"
        self.say(f"{len(ends)} of {tasks} tasks ended, {again}")

    def history(self, events: Sequence[Event], source: str) -> None:
        """Who ran what, when."""
        self.console.rule("who did what")
        runs = rows(events)
        self.console.print(_timeline(runs))
        tasks = len({run.task for run in runs})
        said = f"{tasks} tasks in {len(runs)} runs by {len({r.pid for r in runs})} processes"
        self.say(f"{said}, as {source}")

    def letter(self, mended: Mended, same: bool) -> None:
        """A dead letter's way."""
        it = mended.letter
        self.console.rule("a dead letter, edited and replayed")
        why = ": ".join(line.strip() for line in it.error.splitlines()[-1:])
        self.say(f"published with another payload, {it.id} died: {it.reason}, {why}")
        for line in mended.changes:
            if line[:1] in "+-" and line[:3] not in {"+++", "---"}:
                self.console.print(
                    f"  {line}", style="red" if line[0] == "-" else "green", markup=False
                )
        self.say(
            f"checked against the role {it.group} and replayed: {mended.result.status} after "
            f"{mended.after:.2f} s in process {mended.end.pid}, "
            + ("with the same brief" if same else "with another brief")
        )

    def next(self, out: Path) -> None:
        """What to do with it."""
        self.console.rule("what to try next")
        self.say(f"the brief is in {out}")
        self.say(_NEXT)


def _name(killed: Killed) -> str:
    return "broker" if isinstance(killed, BrokerKilled) else killed.run.role


def _middle(killed: Killed) -> str:
    """What was under way, as far as was heard."""
    if isinstance(killed, BrokerKilled):
        roles = ", ".join(sorted({event.role or event.topic for event in killed.unfinished}))
        number = len(killed.unfinished)
        return f"{number} unfinished task{'' if number == 1 else 's'} ({roles})"
    note = "its researchers at work" if killed.beside else killed.note
    return (
        f"in attempt {killed.run.attempt}, {note}" if note else f"in attempt {killed.run.attempt}"
    )


def _sign(it: Recovery) -> str:
    if it.after is None:
        return "nothing was interrupted"
    if isinstance(it.killed, BrokerKilled):
        return f"the {it.sign.role} in process {it.sign.pid} settled"
    return f"attempt {it.sign.attempt} in process {it.sign.pid}"


def _timeline(runs: Sequence[Row]) -> Table:
    whole = max((row.end or row.start for row in runs), default=0.0)
    table = Table("role", "process", "attempt", "from", "to", "when", "what", box=None)
    table.columns[5].no_wrap = True
    table.columns[5].min_width = WIDTH
    for row in runs:
        end = "" if row.end is None else f"{row.end:.2f} s"
        told = row.how == "succeeded" or row.noticed is not None
        what = row.note if told else f"{row.how} {row.note}"
        cells = [row.role, str(row.pid), str(row.attempt), f"{row.start:.2f} s", end]
        table.add_row(*cells, bar(row, whole), escape(what))
    return table
