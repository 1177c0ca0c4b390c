"""What the driver of PostgreSQL raises, as errors of the bus."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from bus.errors import AccessDenied, BusError, Closed, DatabaseUnreachable, Unsafe
from contracts.errors import InvalidValue, MusterError


@contextmanager
def translated(where: str, *, greeting: bool = False) -> Iterator[None]:
    """Raise what the driver raises as an error of the bus; `where` names the server without its
    password. `greeting`: nothing has been heard yet of whoever answers there.

    The driver's internal errors are what a stranger's answers, and connections that end in the
    middle of an operation, look like to it.
    """
    try:
        yield
    except _OF_THE_DRIVER as error:
        if greeting and (isinstance(error, asyncpg.InternalClientError) or _refuses_tls(error)):
            raise _unsafe(error, where) from error
        raise meaning(error, where) from error


def meaning(error: Exception, where: str) -> MusterError:
    """What an exception of the driver says to a user of the bus."""
    for kinds, make in _MEANINGS:
        if isinstance(error, kinds):
            return make(error, where)
    return BusError(
        "the bus database refused a statement",
        details=f"{where}: {_said(error)}",
        actions=("see the log of the server", "report it with the version of both"),
    )


def login_refused(error: AccessDenied) -> bool:
    """Whether it is the login that was refused, and no permission."""
    return isinstance(error.__cause__, asyncpg.InvalidAuthorizationSpecificationError)


def closed(where: str) -> Closed:
    """The error of every call on a database that was closed."""
    return Closed("the bus database was closed", details=where, actions=("connect again",))


def _unreachable(error: Exception, where: str) -> DatabaseUnreachable:
    return DatabaseUnreachable(
        "the bus database cannot be reached",
        details=f"the PostgreSQL at {where}: {_said(error)}",
        actions=("see that it runs: `muster doctor`", "check `bus.database`"),
        retry_after=1.0,
    )


def _busy(error: Exception, where: str) -> DatabaseUnreachable:
    return DatabaseUnreachable(
        "the bus database cannot serve this now",
        details=f"the PostgreSQL at {where}: {_said(error)}",
        actions=("see what it does: table pg_stat_activity; its disk; its log",),
        retry_after=1.0,
    )


def _denied(error: Exception, where: str) -> AccessDenied:
    return AccessDenied(
        "the bus database refused the login or a permission",
        details=f"the PostgreSQL at {where}: {_said(error)}",
        actions=("correct user and password in `bus.database`", "grant the user its own schema"),
    )


def _unsafe(error: Exception, where: str) -> Unsafe:
    return Unsafe(
        "there is no database for the bus at this address",
        details=f"{where}: {_said(error)}",
        actions=("create it: `createdb NAME`", "or correct `bus.database`: name, port, sslmode"),
    )


def _unfitting(error: Exception, where: str) -> InvalidValue:
    return InvalidValue(
        "the bus database does not take this value",
        details=f"{where}: {_said(error)}",
        actions=("leave out characters that cannot be printed",),
    )


def _interface(error: Exception, where: str) -> BusError:
    return closed(where) if "pool is clos" in str(error) else _unreachable(error, where)


def _refuses_tls(error: Exception) -> bool:
    """The driver has no class for a server that answers its first byte with another than two."""
    return type(error) is ConnectionError and "SSL upgrade" in str(error)


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
    ((asyncpg.InvalidCatalogNameError, asyncpg.ClientConfigurationError), _unsafe),
    (
        (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError),
        _denied,
    ),
    (
        (
            asyncpg.InsufficientResourcesError,
            asyncpg.ObjectNotInPrerequisiteStateError,
            asyncpg.TransactionRollbackError,
            asyncpg.QueryCanceledError,
        ),
        _busy,
    ),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.IdleInTransactionSessionTimeoutError,
            OSError,
            EOFError,
            asyncpg.InternalClientError,  # an answer that was cut off
        ),
        _unreachable,
    ),
    (
        (
            asyncpg.DataError,
            asyncpg.ProgramLimitExceededError,
            asyncpg.UntranslatableCharacterError,
        ),
        _unfitting,
    ),
    ((asyncpg.InterfaceError,), _interface),
)
