"""What Kafka and its client library say, as errors of the bus."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    for_code,
)

from bus.errors import AccessDenied, BusError, TooLarge, Unreachable

LIBRARY = (KafkaError, OSError, EOFError, struct.error)
"""What a connection to Kafka may raise; a `TimeoutError` is an `OSError`."""

_DENIED = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)


@contextmanager
def translated(where: str, doing: str) -> Iterator[None]:
    """Raise what the library raises as an error of the bus; `where` names the Kafka."""
    try:
        yield
    except LIBRARY as error:
        raise meaning(error, where, doing) from error


def meaning(error: BaseException, where: str, doing: str) -> BusError:
    """What an exception of the library says to a user of the bus."""
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    if denied(error):
        return AccessDenied(
            f"Kafka refused access: {doing}",
            details=f"{where}: {said}",
            actions=("check user and password in the url of the bus", "look at its ACLs"),
        )
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return TooLarge(
            f"Kafka takes no message of this size: {doing}",
            details=f"{where}: {said}",
            actions=("raise max.message.bytes of the topic",),
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return Unreachable(
            f"the certificate of the Kafka at {where} is not trusted",
            details=said,
            actions=("name the file of its authority: SSL_CERT_FILE=/path/to/ca.pem",),
        )
    return unreachable(where, doing, said)


def denied(error: BaseException) -> bool:
    """Whether it is about credentials or permissions."""
    return isinstance(error, _DENIED)


def unreachable(where: str, doing: str, why: str) -> Unreachable:
    """Kafka gave no answer that counts."""
    return Unreachable(
        f"Kafka did not answer: {doing}",
        details=f"the Kafka at {where}: {why}",
        actions=("repeat it: the same keys are safe", "look whether the broker runs"),
    )


def refused(code: int, topic: str) -> KafkaError:
    """The exception for an error code in an answer."""
    found: KafkaError = for_code(code)(topic)
    return found
