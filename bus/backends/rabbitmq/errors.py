"""What the client of RabbitMQ raises, as errors of the bus."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiormq import exceptions as theirs

from bus.errors import AccessDenied, BusError, Closed, Unreachable, Unroutable


def closed() -> Closed:
    """The error of every call on a backend that was closed."""
    return Closed("the connection to RabbitMQ is closed", actions=("connect again",))


def unreachable(where: str, why: str) -> Unreachable:
    """The error of a call that RabbitMQ has not answered."""
    return Unreachable(
        "RabbitMQ cannot be reached",
        details=f"the RabbitMQ at {where}: {why}",
        actions=("see that it runs: `muster doctor`", "check `bus.url`"),
        retry_after=1.0,
    )


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what the client raises as an error of the bus; `where` names the server without its
    password. When a connection ends, the client rejects what waits with a plain `Exception`."""
    try:
        yield
    except (BusError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise _meaning(error, where) from error


def _meaning(error: Exception, where: str) -> BusError:
    refused = (
        theirs.AuthenticationError,
        theirs.ProbableAuthenticationError,
        theirs.ConnectionNotAllowed,
        theirs.ChannelAccessRefused,
    )
    said = str(error) or type(error).__name__
    code = error.args[0] if error.args else None
    # the client library has no error of its own for a virtual host that is refused
    vhost = "OpenOk" in said and "Connection.Close" in said
    if isinstance(error, refused) or code in {403, 530} or vhost:
        said = "it has no such virtual host, or not for this user" if vhost else said
        return AccessDenied(
            "RabbitMQ refused the login or a permission",
            details=f"the RabbitMQ at {where}: {said}",
            actions=(
                "correct user, password and virtual host in `bus.url`",
                "let the user configure, write and read what begins with `muster.`",
            ),
        )
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLError) or "certificate" in said.lower():
        return Unreachable(
            "the certificate of RabbitMQ is not trusted, or it does not speak TLS here",
            details=f"the RabbitMQ at {where}: {said}",
            actions=(
                "set SSL_CERT_FILE to the authority's certificate",
                "or `?cafile=` in `bus.url`",
            ),
        )
    if isinstance(error, theirs.ChannelNotFoundEntity):
        return Unroutable("the group was unbound at this moment", details=said, retry_after=1.0)
    return unreachable(where, said)
