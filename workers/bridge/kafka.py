"""How a bridge gets into a Kafka: who it is, by TLS or not, and why it is not let in."""

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest
from faststream.kafka.security import parse_security
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from bus.backends.kafka.address import Address

DENIALS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
"""A login or a permission was refused."""

ABSENCES = (KafkaConnectionError, KafkaTimeoutError)

_NO_PLACE = (InvalidTopicError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError)

_LOGINS: Mapping[str, Any] = MappingProxyType(
    {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
)


def security(address: Address, context: ssl.SSLContext | None) -> BaseSecurity:
    """Who a client is, and how it knows the server."""
    if address.user is None:
        return BaseSecurity(ssl_context=context)
    login = _LOGINS[address.login]
    found: BaseSecurity = login(address.user, address.password or "", ssl_context=context)
    return found


def servers(address: Address) -> list[str]:
    """As the client takes them."""
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in address.hosts]


async def knock_at(address: Address, who: BaseSecurity, topic: str) -> None:
    """Return when one of the brokers has let us in and knows `topic`. Raises what the client does;
    its own start only says that it could not."""
    why: Exception = KafkaConnectionError("the address names no host")
    for host, port in address.hosts:
        try:
            link = await create_conn(host, port, **parse_security(who))
        except (KafkaError, OSError) as error:
            why = error
            continue
        try:
            return await _look_for(topic, link)
        finally:
            link.close()
    raise why


async def _look_for(topic: str, link: AIOKafkaConnection) -> None:
    answer: Any = await link.send(MetadataRequest([topic], False))
    ((code, *_),) = answer.topics
    error = for_code(code)
    if issubclass(error, _NO_PLACE):
        raise error(topic)
