"""Whether the ledger can be reached, as far as this process knows."""

import asyncio

import structlog

_log = structlog.get_logger("muster.auctions")


class Reach:
    """`here`: it has answered last. `changed` is set at every change, for whoever clears it."""

    def __init__(self, role: str) -> None:
        self.here = False
        self.why = "it has not answered yet"
        self.changed = asyncio.Event()
        self._role = role

    def away(self, error: Exception) -> None:
        """It did not answer."""
        self.why = str(error)
        if self.here:
            _log.warning(
                "the ledger is away; auctioned tasks wait", role=self._role, error=self.why
            )
            self.here = False
            self.changed.set()

    def back(self) -> bool:
        """It has answered; whether that is news."""
        if self.here:
            return False
        _log.info("the ledger answers", role=self._role)
        self.here = True
        self.changed.set()
        return True
