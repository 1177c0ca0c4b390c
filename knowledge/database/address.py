"""Where a database is, as errors and logs may say it."""

from contracts import postgres
from knowledge.database.errors import BadAddress


def described(url: str) -> str:
    """Host, port and name of the database at `url`, without user, password and options; raises
    `BadAddress`."""
    try:
        return postgres.described(url)
    except ValueError as error:
        raise BadAddress(
            "the address of the history database cannot be used",
            details=str(error),
            actions=("write it as postgresql://USER:PASSWORD@HOST:PORT/NAME",),
        ) from error
