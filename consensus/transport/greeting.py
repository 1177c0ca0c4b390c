"""Brings two sides of a connection to know each other, or to part with a reason."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from consensus.raft.types import NodeId
from consensus.transport.errors import Lost
from consensus.transport.limits import Limits
from consensus.transport.link import Link
from consensus.wire.errors import Refused, Unreadable
from consensus.wire.frames import Frame, FrameKind
from consensus.wire.handshake import Handshake
from consensus.wire.hello import (
    NONCE,
    Hello,
    Speaker,
    decode_refusal,
    decode_text,
    encode_refusal,
)
from consensus.wire.keys import Keys


def _nonce() -> bytes:
    return secrets.token_bytes(NONCE)


async def everybody(speaker: Speaker) -> None:
    """Admits whoever has the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a process speaks with others.

    `introduce` says who it is at this moment, as its durable seq rises; `keys` are what it holds.
    `admit` is asked about each speaker that has proven itself, before anything else of it is read;
    it raises `Refused`, which the speaker is told. (A node refuses with `Why.IDENTITY` an id that
    comes back with a lower seq, or while another incarnation of it was heard. It returns when what
    it has to remember of this speaker is durable.)
    """

    introduce: Callable[[], Speaker]
    keys: Keys
    admit: Callable[[Speaker], Awaitable[None]] = everybody
    limits: Limits = field(default_factory=Limits)
    nonce: Callable[[], bytes] = _nonce


async def greet(
    link: Link, terms: Terms, *, calling: bool, expected: NodeId | None = None
) -> Speaker:
    """Who is at the other end, proven and admitted on both sides, within `hello_s`.

    `Refused` by either side, `Lost`, `Unreadable`; the link is over then. The caller ends it too
    when this is cancelled.
    """
    mine = Hello(terms.introduce(), terms.nonce(), terms.keys.insecure)
    handshake = Handshake(terms.keys, mine, calling=calling, expected=expected)
    try:
        async with asyncio.timeout(terms.limits.hello_s):
            other = await (_call if calling else _answer)(link, handshake)
            link.seal(handshake.sends(), handshake.receives())
            await _welcome(link, terms, other.speaker, calling=calling)
    except _Told as told:
        link.abort(str(told.refused))
        raise told.refused from None
    except Refused as refused:
        link.send(FrameKind.REFUSED, encode_refusal(refused))
        link.finish(str(refused))
        raise
    except Unreadable as error:
        link.abort(str(error))
        raise
    except TimeoutError as error:
        link.abort("the other side did not introduce itself in time")
        raise Lost(link.reason) from error
    return other.speaker


class _Told(Exception):
    """The other side refused."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused)
        self.refused = refused


async def _call(link: Link, handshake: Handshake) -> Hello:
    link.send(FrameKind.HELLO, handshake.hello())
    other = handshake.meet(await _step(link, FrameKind.HELLO))
    link.send(FrameKind.PROOF, handshake.prove())
    handshake.check(await _step(link, FrameKind.PROOF))
    return other


async def _answer(link: Link, handshake: Handshake) -> Hello:
    other = handshake.meet(await _step(link, FrameKind.HELLO))
    link.send(FrameKind.HELLO, handshake.hello())
    handshake.check(await _step(link, FrameKind.PROOF))
    link.send(FrameKind.PROOF, handshake.prove())
    return other


async def _welcome(link: Link, terms: Terms, other: Speaker, *, calling: bool) -> None:
    """Both sides say, sealed, that they let the other in: the called first."""
    if calling:
        await _step(link, FrameKind.WELCOME)
    await terms.admit(other)
    link.send(FrameKind.WELCOME, b"")
    if not calling:
        await _step(link, FrameKind.WELCOME)


async def _step(link: Link, kind: FrameKind) -> bytes:
    frame: Frame = await link.next(kind)
    if frame.kind == FrameKind.REFUSED:
        raise _Told(decode_refusal(frame.payload))
    if frame.kind == FrameKind.GOODBYE:
        raise Lost(decode_text(frame.payload))
    return frame.payload
