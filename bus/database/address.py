"""Where the bus database is, as errors may say it. Pure."""

from bus.errors import Unsafe
from contracts import postgres


def needed(url: str | None, program: str) -> str:
    """The address of the bus database, which `program` cannot do without. Raises `Unsafe`."""
    if url:
        return url
    raise Unsafe(
        f"{program} needs the bus database, and no address is given for it",
        details="leases, delays, claims of dedupe keys and the key-value store lie in a PostgreSQL",
        actions=(
            "set bus.database to postgresql://USER:PASSWORD@HOST:PORT/NAME",
            "or set history.url: its database is taken when bus.database is not set",
        ),
    )


def described(url: str) -> str:
    """Host, port and name of the database at `url`, without user, password and options. Raises
    `Unsafe` for what is no such address."""
    try:
        return postgres.described(url)
    except ValueError as error:
        raise Unsafe(
            "the address of the bus database cannot be used",
            details=str(error),
            actions=("write bus.database as postgresql://USER:PASSWORD@HOST:PORT/NAME",),
        ) from error
