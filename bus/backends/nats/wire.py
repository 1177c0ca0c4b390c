"""Bytes on the wire: protocol commands, header blocks and dedupe keys. Pure.

Written by hand because a message costs several times as much through the client library's own
`publish`. Protocol: NATS client protocol, `PUB`, `HPUB`; header block: NATS ADR-4.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

MSG_ID = "Nats-Msg-Id"
KEY = "Nats-Muster-Key"
"""The dedupe key of a scheduled message: the server strips `Nats-Msg-Id` when it fires."""

EARLIER = "Nats-Muster-Earlier"
"""On a message that was put back: hand-overs nobody answered before that."""

DUE = "Nats-Muster-Due"
"""The due time of a message that had one, for whoever reads it after that time."""

_NOT_A_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_NEWLINES = str.maketrans({"\r": " ", "\n": " "})
_PLAIN = "NATS/1.0"
_OPEN = b"NATS/1.0\r\n"


def pub(subject: str, reply: str, body: bytes) -> bytes:
    """A message without headers."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(body), body)


def pub_all(subjects: Iterable[str], word: str) -> bytes:
    """The same `word` to many subjects, as `pub` without a reply."""
    end = f"  {len(word)}\r\n{word}\r\n"
    return "".join([f"PUB {subject}{end}" for subject in subjects]).encode()


def hpub(subject: str, reply: str, headers: bytes, body: bytes) -> bytes:
    """A message; `headers` are lines as `header_lines` makes them."""
    size = len(headers) + 12
    return b"HPUB %b %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (
        subject.encode(),
        reply.encode(),
        size,
        size + len(body),
        headers,
        body,
    )


def header_lines(headers: Mapping[str, str]) -> bytes:
    """A message's own headers, kept apart from the server's and safe against line breaks."""
    text = "".join([f"{wire_name(name)}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        text = "".join(
            [f"{wire_name(n)}: {v.translate(_NEWLINES)}\r\n" for n, v in headers.items()]
        )
    return text.encode("utf-8", "replace")


@lru_cache(maxsize=4096)
def wire_name(name: str) -> str:
    """`name` as it travels: what the server would act on gets a `~` in front."""
    name = _NOT_A_NAME.sub("_", name) or "_"
    return "~" + name if name.startswith("~") or name[:5].lower() == "nats-" else name


class Headers(NamedTuple):
    """A header block taken apart: the message's own, the server's, the status (0 without)."""

    own: dict[str, str]
    server: dict[str, str]
    status: int
    reason: str


def parse_headers(block: bytes | None) -> Headers:
    """`block` as it came, or nothing."""
    own: dict[str, str] = {}
    server: dict[str, str] = {}
    if not block:
        return Headers(own, server, 0, "")
    lines = block.decode("utf-8", "replace").split("\r\n")
    for line in lines[1:]:
        name, found, value = line.partition(": ")
        if not found or ":" in name:
            name, _, value = line.partition(":")
        if name[:5] == "Nats-":
            server[name] = value
        elif name[:1] == "~":
            own[name[1:]] = value
        elif name:
            own[name] = value
    if lines[0] == _PLAIN:
        return Headers(own, server, 0, "")
    return Headers(own, server, *_status(lines[0]))


def _status(line: str) -> tuple[int, str]:
    if len(line) <= len(_OPEN) - 2:
        return 0, ""
    code, _, reason = line[9:].partition(" ")
    return (int(code), reason) if code.isdigit() else (0, "")


def status(block: bytes | None) -> int:
    """The status in a header block, 0 without; quicker than taking it all apart."""
    if block is None or block[8:9] != b" ":
        return 0
    return int(block[9:12]) if block[9:12].isdigit() else 0


def encode_key(id: str, group: str | None, copy: int) -> str:  # noqa: A002 - the message's word
    """The dedupe key as a header value: `id/group/copy`, the id quoted where it must be."""
    if not id.isascii() or not id.isprintable() or "%" in id or id[:1] == " ":
        id = quote(id, safe="", errors="replace")  # noqa: A001 - the message's word
    return f"{id}/{group or '*'}/{copy}"


class Key(NamedTuple):
    """A dedupe key taken apart."""

    id: str
    group: str | None
    copy: int


_FOREIGN = Key("", None, 0)


def decode_key(text: str | None) -> Key:
    """The key in a header value; empty id for what no publisher of ours wrote.

    Whatever follows a `~` after the copy number was added when the message was put back.
    """
    if text is None:
        return _FOREIGN
    parts = text.rsplit("/", 2)
    if len(parts) != 3:
        return _FOREIGN
    id_, group, copy = parts
    copy = copy.partition("~")[0]
    if not (copy.isascii() and copy.isdigit() and group):
        return _FOREIGN
    id_ = unquote(id_) if "%" in id_ else id_
    return Key(id_, None if group == "*" else group, int(copy))


class Ack(NamedTuple):
    """What an acknowledgement subject tells of a delivery."""

    stream: str
    consumer: str
    delivered: int
    sequence: int


def parse_ack(subject: str) -> Ack:
    """`$JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE.CONSUMER_SEQUENCE.TIME.PENDING`, or the longer
    form with domain and account hash in front (NATS ADR-15)."""
    parts = subject.split(".")
    if len(parts) > 9:
        parts = parts[2:]
    return Ack(parts[2], parts[3], int(parts[4]), int(parts[5]))
