"""Places outside the fleet: a broker's address with the name of a subject, topic, queue or stream.

`nats://HOST:PORT/SUBJECT?stream=NAME`, `kafka://HOST:PORT/TOPIC`, `amqp://HOST:PORT/VHOST/QUEUE`
(the virtual host may be left out), `redis://HOST:PORT/DATABASE/STREAM` (so may the database).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from contracts.errors import InvalidValue
from contracts.topics import check_group, check_pattern, near, publishable

SCHEMES = ("nats", "tls", "kafka", "amqp", "amqps", "redis", "rediss")
"""What a place may begin with."""

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
        check_group(f"bridge-{name}")
        if name
        else _group(place, topic, "in" if inward else "tasks" if tasks else "ends")
    )
    return Crossing(inward, place, topic, group)


def _group(place: Place, topic: str, what: str) -> str:
    """The same name at every start, another one for everything else that is joined."""
    digest = hashlib.sha256(f"{what}\n{place.shown}\n{topic}".encode()).hexdigest()
    return f"bridge-{_NO_NAME.sub('-', topic.lower()).strip('-')[:40]}-{digest[:8]}"


def place_of(url: str) -> Place:
    """The place at `url`. Raises `InvalidValue`; nothing of what may be a password is repeated."""
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        close = near(scheme, SCHEMES, limit=1)
        raise _wrong(f"did you mean {close[0]}://?" if close else f"known: {', '.join(SCHEMES)}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _wrong("its host or port cannot be read") from None
    above, _, name = parts.path.strip("/").rpartition("/")
    if not host or not name:
        raise _wrong("it names no host" if not host else "it names nothing on that broker")
    path = "/" + above if above else ""
    server = urlunsplit((scheme, parts.netloc, path, "", ""))
    return Place(scheme, server, unquote(name), dict(parse_qsl(parts.query)))


def _wrong(why: str) -> InvalidValue:
    return InvalidValue(
        "the place outside cannot be read",
        details=why,
        actions=("write it as nats://HOST:PORT/SUBJECT or kafka://HOST:PORT/TOPIC",),
    )
