"""What the address of a Kafka says. Pure.

`kafka://[USER:PASSWORD@]HOST:PORT[,HOST:PORT …][?partitions=N&login=MECHANISM]`; `kafkas://` is
the same by TLS.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from contracts.errors import InvalidValue

PORT = 9092
"""Where a Kafka listens when nothing else is said."""

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Address:
    """`hosts`: brokers to ask for the others. `shown`: the address without its password.
    `partitions`: of each lane of a group, at least."""

    hosts: tuple[tuple[str, int], ...]
    shown: str
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    login: str = "PLAIN"
    partitions: int = 2

    @property
    def protocol(self) -> str:
        """What Kafka calls this kind of connection."""
        secured = "SSL" if self.tls else "PLAINTEXT"
        return secured if self.user is None else f"SASL_{secured}"


def parsed(url: str) -> Address:
    """The address that `url` is. Raises `InvalidValue`."""
    try:
        parts = urlsplit(url)
        who, _, at = parts.netloc.rpartition("@")
        hosts = tuple(_host(text) for text in at.split(","))
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        partitions = int(options.pop("partitions", "2"))
        login = options.pop("login", "PLAIN").upper()
    except ValueError as error:
        raise _bad(str(error)) from error
    if options or login not in _MECHANISMS or not 1 <= partitions <= 100:
        raise _bad(f"in {parts.query!r}")
    user, colon, password = who.partition(":")
    return Address(
        hosts=hosts,
        shown=f"{parts.scheme}://{f'{user}:***@' if colon else f'{user}@' if user else ''}{at}",
        tls=parts.scheme.lower() == "kafkas",
        user=unquote(user) if user else None,
        password=unquote(password) if user else None,
        login=login,
        partitions=partitions,
    )


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    return parts.hostname, parts.port or PORT


def _bad(why: str) -> InvalidValue:
    return InvalidValue(
        "the address of the Kafka cannot be used",
        details=why,
        actions=("write it as kafka://USER:PASSWORD@HOST:PORT",),
    )
