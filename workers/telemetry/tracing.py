"""What traces ask of the rest of the fleet, in words of its own: this needs no library.

A task carries the context of whoever published it in the headers `traceparent` and `tracestate`
(W3C Trace Context, Level 1), the names of the distributed tracing extension of CloudEvents. They
stay with it through retries, and go on to what it calls and publishes, also through processes that
make no spans.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from contracts.envelope import Envelope
from contracts.outcomes import Outcome

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

PREFIX = "ce-"
"""Before them for publishers who write every attribute of CloudEvents so."""

CARRIED = frozenset({TRACEPARENT, TRACESTATE, PREFIX + TRACEPARENT, PREFIX + TRACESTATE})
"""Headers that a task hands on to what it calls and publishes."""

FIRST_RUN = "muster-first-run"
"""Header of a task that comes back: the `traceparent` of its first run, which others link to."""

INSTRUMENTATION = "muster"
"""The name under which spans are made."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def trace_of(headers: Mapping[str, str]) -> str:
    """The id of the trace a task belongs to, 32 hexadecimal digits; empty without."""
    told = headers.get(TRACEPARENT) or headers.get(PREFIX + TRACEPARENT)
    return ids_in(told or "").get("trace_id", "")


def ids_in(traceparent: str) -> Mapping[str, str]:
    """`trace_id` and `span_id` of a header; empty for one that is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return {"trace_id": found[1], "span_id": found[2]} if found else {}


class RunSpan(Protocol):
    """The span of one run, from when its handler is called until its task is settled."""

    @property
    def ids(self) -> Mapping[str, str]:
        """`trace_id` and `span_id`, hexadecimal."""
        ...

    @property
    def header(self) -> str:
        """Its own `traceparent`."""
        ...

    def enter(self) -> object:
        """Be the current span from here on; what is returned goes to `leave`."""
        ...

    def leave(self, token: object) -> None:
        """Be it no longer."""
        ...

    def failed(self, error: BaseException) -> None:
        """The handler raised this."""
        ...

    def settling(self) -> AbstractContextManager[object]:
        """A span around the settle."""
        ...

    def end(self, became: str, outcome: Outcome | None) -> None:
        """Its task is settled, given back or somebody else's by now. `became`: a word for that;
        `outcome`: what the handler came to, if that was wanted."""
        ...


class Tracing(Protocol):
    """Makes the spans of one process. `makes_spans`: whether `run` ever does."""

    makes_spans: bool

    def publish(
        self, tasks: Sequence[Envelope], *, call: str = ""
    ) -> AbstractContextManager[Sequence[Envelope]]:
        """A span around a publish; the tasks it gives carry its context. `call`: the role that is
        called, and the span lasts until it has answered."""
        ...

    def run(self, task: Envelope, role: str, started: float) -> RunSpan | None:
        """The span of a run that began at `started`, UTC epoch seconds."""
        ...

    def below(self, traceparent: str) -> AbstractContextManager[object]:
        """What is published in the block hangs below this span of another process; an empty one
        changes nothing."""
        ...

    @property
    def reaches(self) -> bool:
        """Whether spans reach somebody, as far as is known."""
        ...

    def counts(self) -> Mapping[str, int] | None:
        """What became of spans; None where none are sent from here."""
        ...

    async def close(self) -> None:
        """Send what there is, for three seconds at most; never raises."""
        ...


class NoTracing:
    """Makes none. What a task carries is handed on all the same."""

    makes_spans = False
    reaches = False

    def publish(
        self,
        tasks: Sequence[Envelope],
        *,
        call: str = "",  # noqa: ARG002 - the interface
    ) -> AbstractContextManager[Sequence[Envelope]]:
        """The tasks as they are."""
        return nullcontext(tasks)

    def run(self, task: Envelope, role: str, started: float) -> None:
        """No span."""

    def below(self, traceparent: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Nothing hangs anywhere."""
        return nullcontext()

    def counts(self) -> None:
        """None are sent."""

    async def close(self) -> None:
        """Nothing to send."""
