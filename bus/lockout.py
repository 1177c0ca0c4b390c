"""A login that a broker took when this process connected, and refuses when it connects again: its
password was changed. Somebody will mend that, so it is waited for like a broker that is away."""

import logging

from bus.errors import DatabaseLockedOut, LockedOut

_log = logging.getLogger(__name__)

_ACTIONS = ("let it take that password again", "or start this process with the new one")

_AGAIN = 1.0
"""Seconds after which it makes sense to try again."""


class Lockouts:
    """Of the connections of one process, from whichever thread: what several of them meet at one
    server is told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def of(self, where: str) -> "Lockout":
        """That of a connection to the server `where`."""
        return Lockout(where, self._told)


class Lockout:
    """Of one connection: told by one line of the log when it begins, and by one when it ends.
    Errors that come of it need no lines of their own."""

    def __init__(self, where: str, told: set[str]) -> None:
        self._where = where
        self._told = told

    def begun(self, why: str) -> LockedOut:
        """The error of a call that needs a connection; `why` is the server's word."""
        return LockedOut(self._tell(why), details=why, actions=_ACTIONS, retry_after=_AGAIN)

    def begun_of_database(self, why: str) -> DatabaseLockedOut:
        """The same of the bus database."""
        said = self._tell(why)
        return DatabaseLockedOut(said, details=why, actions=_ACTIONS, retry_after=_AGAIN)

    def over(self) -> None:
        """It has let us in."""
        if self._where in self._told:
            self._told.discard(self._where)
            _log.warning("%s takes the login again", self._where)

    def _tell(self, why: str) -> str:
        said = f"{self._where} refuses the login that it took before"
        if self._where not in self._told:
            self._told.add(self._where)
            _log.error("%s (%s); what waits there is safe, and it is tried again", said, why)
        return said
