"""Dead letters as people and programs read them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contracts.envelope import DEFAULT_TENANT
from workers.cli import output, times

if TYPE_CHECKING:
    from bus.deadletters import DeadLetter

_ERROR = 60
"""Characters of an error in a table."""


def shape(letter: "DeadLetter", *, whole: bool = False) -> dict[str, Any]:
    """For a program; the `whole` has headers and body."""
    names = (
        "id group topic tenant reason attempts copy worker died published replays replayed_by "
        "forced edited edited_by state error"
    )
    found = {name: getattr(letter, name) for name in names.split()}
    found["role"] = found.pop("group")
    if whole:
        found["headers"] = dict(letter.headers)
        found["body"] = letter.body.decode("utf-8", "replace")
    return found


def table(letters: "Sequence[DeadLetter]", now: float) -> None:
    """A line for each; with its tenant where there are several."""
    tenants = any(letter.tenant != DEFAULT_TENANT for letter in letters)
    columns = "ID ROLE TENANT TOPIC REASON AGE ATTEMPTS REPLAYS ERROR".split()
    rows = [_cells(letter, now) for letter in letters]
    if not tenants:
        columns.remove("TENANT")
        rows = [row[:2] + row[3:] for row in rows]
    output.table(columns, rows)


def _cells(letter: "DeadLetter", now: float) -> list[object]:
    error = letter.error.partition("\n")[0]
    return [
        letter.id,
        letter.group,
        letter.tenant,
        letter.topic,
        letter.reason,
        times.ago(now - letter.died),
        letter.attempts,
        letter.replays,
        error if len(error) <= _ERROR else error[: _ERROR - 1] + "…",
    ]


def as_text(letter: "DeadLetter", now: float) -> str:
    """All of it: what, why, headers, body."""
    facts = {
        "id": letter.id,
        "role": letter.group,
        "topic": letter.topic,
        "reason": letter.reason.value,
        "died": f"{_time(letter.died)} ({times.ago(now - letter.died)} ago)",
        "published": _time(letter.published) if letter.published else "unknown",
        "attempts": letter.attempts,
        "replays": _replays(letter),
        "edited": f"{letter.edited} by {letter.edited_by}" if letter.edited_by else "never",
        "state": letter.state.value,
        "worker": letter.worker,
    }
    lines = [f"{name:<10}{value}" for name, value in facts.items()]
    lines += [
        "",
        "headers",
        *(f"  {name}: {output.printable(v)}" for name, v in letter.headers.items()),
    ]
    lines += ["", f"body ({len(letter.body):,} bytes)", _indented(_body(letter.body))]
    lines += ["", "error", _indented(letter.error or "none")]
    return "\n".join(lines)


def _replays(letter: "DeadLetter") -> str:
    by = f", last by {letter.replayed_by}" if letter.replayed_by else ""
    return f"{letter.replays}{by}{', forced' if letter.forced else ''}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _body(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "replace")


def _indented(text: str) -> str:
    return "\n".join(f"  {output.printable(line)}" for line in text.splitlines())
