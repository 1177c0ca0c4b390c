"""Places outside the fleet: a broker's address with the name of a subject, topic, queue or stream.

`nats://HOST:PORT/SUBJECT?stream=NAME`, `kafka://HOST:PORT[,HOST:PORT …]/TOPIC`,
`amqp://HOST:PORT/VHOST/QUEUE` (the virtual host may be left out), `redis://HOST:PORT/DATABASE/STREAM`
(so may the database). Before the host may stand `USER:PASSWORD@`; `tls`, `kafkas`, `amqps` and
`rediss` are the same by TLS.
"""

import hashlib
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from contracts.errors import InvalidValue
from contracts.topics import check_group, check_pattern, near, publishable

_NATS, _KAFKA, _REDIS = ("stream", "durable"), ("group", "login"), ("group",)
_TRUST = "cafile"

_OPTIONS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "nats": (*_NATS, _TRUST),  # the server says whether it wants TLS
        "tls": (*_NATS, _TRUST),
        "kafka": _KAFKA,
        "kafkas": (*_KAFKA, _TRUST),
        "amqp": (),
        "amqps": (_TRUST,),
        "redis": _REDIS,
        "rediss": (*_REDIS, _TRUST),
    }
)
"""What may stand behind `?`, by what a place begins with."""

SCHEMES = tuple(_OPTIONS)
"""What a place may begin with."""

BRIDGE = "bridge-"
"""How the group of a bridge begins."""

_TLS = ("tls", "kafkas", "amqps", "rediss")

_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Place:
    """`server`: the address as the broker's client takes it, with credentials. `name`: of the
    subject, topic, queue or stream. `options`: what stood behind `?`."""

    scheme: str
    server: str = field(repr=False)
    name: str
    options: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The place without who may use it."""
        parts = urlsplit(self.server)
        host = parts.netloc.rpartition("@")[2]
        return f"{self.scheme}://{host}{parts.path.rstrip('/')}/{self.name}"

    def context(self) -> ssl.SSLContext | None:
        """How the server is known, by the authorities of the system or of `SSL_CERT_FILE`, or those
        in the file `?cafile=`; None where nothing asks for it. Raises `InvalidValue`."""
        file = self.options.get(_TRUST)
        if file is None and self.scheme not in _TLS:
            return None
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:
            raise InvalidValue(
                f"the certificates in {file} cannot be read",
                details=str(error),
                actions=("name a PEM file with those of the authority: ?cafile=/path/to/ca.pem",),
            ) from error


@dataclass(frozen=True, slots=True)
class Crossing:
    """What a bridge joins. `inward`: from the place to the topic, else from the topic pattern to
    the place. `group`: what the bridge is called on both sides."""

    inward: bool
    place: Place
    topic: str
    group: str


def crossing(source: str, target: str, name: str | None = None, *, tasks: bool = False) -> Crossing:
    """What `--from` and `--to` say; `tasks`: they leave, not their ends. Raises `InvalidValue`,
    `InvalidTopic`."""
    inward = "://" in source
    if inward == ("://" in target):
        raise InvalidValue(
            "a bridge joins a topic of this fleet with a place outside",
            details=f"both ends are {'outside' if inward else 'topics'}",
            actions=("such as: muster bridge --from kafka://HOST:9092/orders --to support.order",),
        )
    place = place_of(source if inward else target)
    topic = publishable(target) if inward else check_pattern(source)
    group = (
        check_group(BRIDGE + name)
        if name
        else _group(place, topic, "in" if inward else "tasks" if tasks else "ends")
    )
    return Crossing(inward, place, topic, group)


def _group(place: Place, topic: str, what: str) -> str:
    """The same name at every start, another one for everything else that is joined."""
    digest = hashlib.sha256(f"{what}\n{place.shown}\n{topic}".encode()).hexdigest()
    return f"{BRIDGE}{_NO_NAME.sub('-', topic.lower()).strip('-')[:40]}-{digest[:8]}"


def place_of(url: str) -> Place:
    """The place at `url`. Raises `InvalidValue`; nothing of what may be a password is repeated."""
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        close = near(scheme, SCHEMES, limit=1)
        raise _wrong(f"did you mean {close[0]}://?" if close else f"known: {', '.join(SCHEMES)}")
    try:
        parts = urlsplit(url)
        at = parts.netloc.rpartition("@")[2]
        named = all(map(_is_host, at.split(",") if scheme.startswith("kafka") else [at]))
    except ValueError:
        raise _wrong("its host or port cannot be read") from None
    above, _, name = parts.path.strip("/").rpartition("/")
    if not named or not name:
        raise _wrong("it names nothing on that broker" if named else "it names no host")
    path = "/" + above if above else ""
    server = urlunsplit((scheme, parts.netloc, path, "", ""))
    return Place(scheme, server, unquote(name), _options(scheme, parts.query))


def _is_host(text: str) -> bool:
    """Whether this names one. Raises `ValueError` for a port that is none."""
    parts = urlsplit(f"//{text}")
    return bool(parts.hostname) and parts.port != 0


def _options(scheme: str, query: str) -> Mapping[str, str]:
    found, known = dict(parse_qsl(query)), _OPTIONS[scheme]
    for name in found.keys() - known:
        close = near(name, known, limit=1)
        said = f"did you mean {close[0]}=?" if close else f"known: {', '.join(known) or 'nothing'}"
        raise _wrong(f"{scheme}:// has no option {name!r}; {said}")
    return found


def _wrong(why: str) -> InvalidValue:
    return InvalidValue(
        "the place outside cannot be read",
        details=why,
        actions=("write it as nats://HOST:PORT/SUBJECT or kafka://HOST:PORT/TOPIC",),
    )
