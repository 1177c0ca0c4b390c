"""Keeps a client's session: opens it, sends its commands, and never sends one under another."""

import asyncio
import random
from collections.abc import Callable

from consensus.client.asking import Asking
from consensus.client.errors import LedgerAway
from consensus.client.session import Session
from consensus.ledger.answers import Answer, Refused, SessionOpened, error_of
from consensus.ledger.commands import InSession, OpenSession
from consensus.ledger.entries import Entry, check, encode
from consensus.service.replies import Answered, Reply
from consensus.service.requests import NONCE, CommandAsked, encode_request
from contracts.auctions import Refusal
from contracts.errors import MusterError


class Sessions:
    """One session at a time; a new one, with `opened` called, after the ledger forgot the last."""

    def __init__(
        self, asking: Asking, worker: str, rng: random.Random, opened: Callable[[Session], None]
    ) -> None:
        self.current: Session | None = None
        self._asking = asking
        self._worker = worker
        self._rng = rng
        self._opened = opened
        self._nonce = rng.randbytes(NONCE)
        self._opening = asyncio.Lock()
        self._room = asyncio.Event()

    @property
    def nonce(self) -> bytes:
        """Of the session that is, or that will be opened next."""
        return self._nonce

    async def do(self, command: InSession, what: str, timeout: float) -> Answer:
        """The ledger's answer to a command, which it does at most once.

        Raises `InvalidValue`, an error of `contracts.auctions`, or `LedgerAway`. After
        `UnknownSession` the next call begins a new session; this command is not said again.
        """
        check(command)
        try:
            async with asyncio.timeout(timeout):
                session = await self._session()
                answer = await self._numbered(session, command)
        except TimeoutError as error:
            raise LedgerAway(what, self._asking.reason) from error
        if isinstance(answer, Refused):
            raise self._error(session, answer, what)
        return answer

    async def _session(self) -> Session:
        """The session, opened if there is none. The same nonce until it is open: so an open that
        was done and not heard of is not done again."""
        async with self._opening:
            if self.current is None:
                command = OpenSession(self._nonce, self._worker)
                check(command)
                body = encode_request(CommandAsked(self._nonce, encode(Entry(0, command))))
                answer = _answer(await self._asking.until(lambda: body))
                if not isinstance(answer, SessionOpened):
                    raise MusterError("the ledger opened no session", details=str(answer))
                self.current = Session(answer.session, self._nonce)
                self._opened(self.current)
            return self.current

    async def _numbered(self, session: Session, command: InSession) -> Answer:
        """Ask under one number until there is an answer, or nobody waits for it any more."""
        while session.full:
            self._room.clear()
            await self._room.wait()
        seq = session.take()

        def body() -> bytes:
            entry = Entry(0, command, session.id, seq, session.acked_below)
            return encode_request(CommandAsked(session.nonce, encode(entry)))

        try:
            return _answer(await self._asking.until(body))
        finally:
            session.release(seq)
            self._room.set()

    def _error(self, session: Session, refused: Refused, what: str) -> MusterError:
        if refused.why is Refusal.UNKNOWN_SESSION and self.current is session:
            self.current = None
            self._nonce = self._rng.randbytes(NONCE)
        return error_of(refused, what)


def _answer(reply: Reply) -> Answer:
    if isinstance(reply, Answered):
        return reply.answer
    raise MusterError("the ledger gave no answer to a command", details=str(reply))
