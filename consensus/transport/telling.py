"""Says in the log what is wrong with others: each thing once, however often it happens."""

import logging
from collections import Counter

from consensus.wire.errors import Refused
from contracts.errors import MusterError

_MOST = 256
"""Different things that are remembered: a stranger must not fill the memory by new ones."""


class Telling:
    """Remembers what was said, and counts what happened. One belongs to one part of a node."""

    def __init__(self, log: logging.Logger) -> None:
        self.counts: Counter[str] = Counter()
        """How often each kind of thing happened, for metrics."""
        self._log = log
        self._said: dict[tuple[str, str], None] = {}

    def once(self, who: str, error: MusterError) -> None:
        """A warning, unless the same kind of thing was said of it before."""
        kind = f"refused {error.why.name}" if isinstance(error, Refused) else type(error).__name__
        self.counts[kind] += 1
        if (who, kind) in self._said:
            return
        while len(self._said) >= _MOST:
            del self._said[next(iter(self._said))]
        self._said[who, kind] = None
        self._log.warning("%s: %s", who, error)

    def forget(self, who: str) -> None:
        """All is well with it: what happens next is news."""
        for key in [key for key in self._said if key[0] == who]:
            del self._said[key]
