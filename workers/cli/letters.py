"""A dead letter as text for a person."""

import json
from datetime import UTC, datetime

from bus.deadletters import DeadLetter
from workers.cli import times


def as_text(letter: DeadLetter, now: float) -> str:
    """All of it: what, why, headers, body."""
    facts = {
        "id": letter.id,
        "role": letter.group,
        "topic": letter.topic,
        "reason": letter.reason.value,
        "died": f"{_time(letter.died)} ({times.ago(now - letter.died)} ago)",
        "published": _time(letter.published) if letter.published else "unknown",
        "attempts": letter.attempts,
        "replays": letter.replays,
        "state": letter.state.value,
        "worker": letter.worker,
    }
    lines = [f"{name:<10}{value}" for name, value in facts.items()]
    lines += ["", "headers", *(f"  {name}: {_safe(v)}" for name, v in letter.headers.items())]
    lines += ["", f"body ({len(letter.body):,} bytes)", _indented(_body(letter.body))]
    lines += ["", "error", _indented(letter.error or "none")]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _body(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "replace")


def _indented(text: str) -> str:
    return "\n".join(f"  {_safe(line)}" for line in text.splitlines())


def _safe(text: str) -> str:
    """Without characters that would drive a terminal."""
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in text)
