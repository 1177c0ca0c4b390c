"""What a client raises beside the errors of auctions in `contracts.auctions`."""

from contracts.errors import MusterError


class LedgerAway(MusterError):
    """No leader answered in time. A command may have been done, or be done yet: whoever has to
    know reads the auction, or says the same again, which is safe for all commands of auctions."""

    retryable = True

    def __init__(self, what: str, details: str) -> None:
        super().__init__(
            f"the ledger is away: {what} was not answered",
            details=details,
            actions=("try again later", "see `muster ledger status`"),
        )


class OrderRefused(MusterError):
    """An operator's order that cannot be done, however often it is given."""
