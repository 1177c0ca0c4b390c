"""Every error that leaves the database. The driver's own exception is the `__cause__`."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from contracts.errors import MusterError


class DatabaseError(MusterError):
    """The root of this package's errors."""


class Unreachable(DatabaseError):
    """The server did not answer, or ended the connection. What was being written may or may not
    be there: repeat it, which is safe."""

    retryable = True


class Busy(DatabaseError):
    """The server answers and cannot serve now: no connection is free, a lock is not given, a
    statement took too long, the disk is full. Nothing of the transaction was kept."""

    retryable = True


class AccessDenied(DatabaseError):
    """The server refused the user, the password or a permission."""


class NoSuchDatabase(DatabaseError):
    """The server has no database of this name."""


class BadAddress(DatabaseError):
    """The address is not one of PostgreSQL, or what answers there is something else."""


class NotOurs(DatabaseError):
    """The schema holds tables that were not made by this project."""


class NewerDatabase(DatabaseError):
    """The database was migrated by a later release; this one would misread it."""


class Unfitting(DatabaseError):
    """A value that the database does not take."""


class Closed(DatabaseError):
    """A call on a database that has been closed."""


@contextmanager
def translated(where: str, *, greeting: bool = False) -> Iterator[None]:
    """Raise what the driver raises as an error of this module; `where` names the server without
    its password. `greeting`: nothing has been heard yet of whoever answers there.

    The driver's internal errors are what a stranger's answers, and connections that end in the
    middle of an operation, look like to it.
    """
    try:
        yield
    except _OF_THE_DRIVER as error:
        stranger = greeting and isinstance(error, asyncpg.InternalClientError)
        raise (_not_postgres if stranger else from_driver)(error, where) from error


def from_driver(error: Exception, where: str) -> DatabaseError:
    """What an exception of the driver means."""
    for kinds, make in _MEANINGS:
        if isinstance(error, kinds):
            return make(error, where)
    return DatabaseError(
        "the history database refused a statement",
        details=f"{where}: {_said(error)}",
        actions=("see the log of the server", "report it with the version of both"),
    )


def _unreachable(error: Exception, where: str) -> DatabaseError:
    return Unreachable(
        "the history database cannot be reached",
        details=f"{where}: {_said(error)}",
        actions=("see that the server runs: `muster doctor`", "check `history.url`"),
        retry_after=1.0,
    )


def _busy(error: Exception, where: str) -> DatabaseError:
    return Busy(
        "the history database cannot serve this now",
        details=f"{where}: {_said(error)}",
        actions=("try again", "see what it does: table pg_stat_activity; its disk; its log"),
        retry_after=1.0,
    )


def _denied(error: Exception, where: str) -> DatabaseError:
    return AccessDenied(
        "the history database refused the login or a permission",
        details=f"{where}: {_said(error)}",
        actions=("correct user and password in `history.url`", "grant the user its own schema"),
    )


def _no_database(error: Exception, where: str) -> DatabaseError:
    return NoSuchDatabase(
        "there is no such database on the server",
        details=f"{where}: {_said(error)}",
        actions=("create it: `createdb NAME`", "or correct the name in `history.url`"),
    )


def _bad_address(error: Exception, where: str) -> DatabaseError:
    return BadAddress(
        "the address of the history database cannot be used",
        details=f"{where}: {_said(error)}",
        actions=("write it as postgresql://USER:PASSWORD@HOST:PORT/NAME",),
    )


def _not_postgres(error: Exception, where: str) -> DatabaseError:
    return BadAddress(
        "what answers at this address is not PostgreSQL, or refuses encryption",
        details=f"{where}: {_said(error)}",
        actions=("check host, port and sslmode in `history.url`",),
    )


def _unfitting(error: Exception, where: str) -> DatabaseError:
    return Unfitting(
        "the history database does not take this value",
        details=f"{where}: {_said(error)}",
        actions=("leave it out",),
    )


def _closed(error: Exception, where: str) -> DatabaseError:
    return Closed(
        "the history database was closed",
        details=f"{where}: {_said(error)}",
        actions=("open it again",),
    )


def _interface(error: Exception, where: str) -> DatabaseError:
    if "pool is clos" in str(error):
        return _closed(error, where)
    return _unreachable(error, where)


def _gone(error: Exception, where: str) -> DatabaseError:
    """The driver has no class for a server that answers its first byte with another than two."""
    if type(error) is ConnectionError and "SSL upgrade" in str(error):
        return _not_postgres(error, where)
    return _unreachable(error, where)


def _said(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


_OF_THE_DRIVER = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # of which TimeoutError is one
    EOFError,
)
_MEANINGS = (
    ((asyncpg.InvalidCatalogNameError,), _no_database),
    (
        (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError),
        _denied,
    ),
    (
        (
            asyncpg.CannotConnectNowError,
            asyncpg.PostgresConnectionError,
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
        ),
        _unreachable,
    ),
    (
        (
            asyncpg.InsufficientResourcesError,
            asyncpg.OperatorInterventionError,
            asyncpg.ObjectNotInPrerequisiteStateError,
            asyncpg.TransactionRollbackError,
            asyncpg.IdleInTransactionSessionTimeoutError,
        ),
        _busy,
    ),
    (
        (
            asyncpg.DataError,
            asyncpg.IntegrityConstraintViolationError,
            asyncpg.ProgramLimitExceededError,
            asyncpg.CardinalityViolationError,
            asyncpg.UntranslatableCharacterError,
        ),
        _unfitting,
    ),
    ((asyncpg.ClientConfigurationError,), _bad_address),
    ((asyncpg.InterfaceError,), _interface),
    ((OSError, EOFError), _gone),
    ((asyncpg.InternalClientError,), _unreachable),  # an answer that was cut off
)
