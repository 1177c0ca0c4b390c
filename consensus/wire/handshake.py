"""How two sides come to know each other, as steps without a socket.

The caller says hello, the called says hello; the caller proves that it has the key of its kind, the
called proves the same; then each welcomes or refuses the other in a frame that is sealed. Nothing
that a side says of itself is believed before its proof.
"""

import hmac
from collections.abc import Mapping
from types import MappingProxyType

from consensus.raft.types import NodeId
from consensus.wire.errors import Refused, Unreadable, Why
from consensus.wire.hello import Hello, Party, Speaker, decode_hello, encode_hello
from consensus.wire.keys import Keys, Secrets, secrets


class Handshake:
    """One side of one handshake. `calling`: this side opened the connection; `expected` is the node
    that it means to reach, None for any. Each step raises `Refused` for a speaker that is not
    wanted and `Unreadable` for what is no such step."""

    def __init__(
        self, keys: Keys, mine: Hello, *, calling: bool, expected: NodeId | None = None
    ) -> None:
        self._keys = keys
        self._mine = mine
        self._calling = calling
        self._expected = expected
        self._secrets: Secrets | None = None

    def hello(self) -> bytes:
        """What this side says first."""
        return encode_hello(self._mine)

    def meet(self, payload: bytes) -> Hello:
        """What the other side says first. It may be a lie until `check`."""
        theirs = decode_hello(payload)
        self._wanted(theirs)
        caller, called = (self._mine, theirs) if self._calling else (theirs, self._mine)
        party = caller.speaker.party
        key = self._keys.of(party)
        if key is None:
            raise Refused(Why.KEY, f"this node has no {party.name.lower()} key")
        self._secrets = secrets(key, encode_hello(caller), encode_hello(called))
        return theirs

    def _wanted(self, theirs: Hello) -> None:
        mine, other = self._mine.speaker, theirs.speaker
        if theirs.nonce == self._mine.nonce or (other.node and other.node == mine.node):
            raise Refused(Why.NODE, f"{mine} met itself")
        _same_words(mine, other)
        if self._mine.insecure != theirs.insecure:
            said = f"{mine} {_SAID[self._mine.insecure]}, {other} {_SAID[theirs.insecure]}"
            raise Refused(Why.KEY, said)
        if 0 not in {mine.cluster, other.cluster} and mine.cluster != other.cluster:
            raise Refused(Why.CLUSTER, f"{other} is of another cluster than {mine}")
        if self._calling and other.party is not Party.PEER:
            raise Refused(Why.NODE, f"{other} answers where a node should")
        if self._expected not in {None, other.node}:
            raise Refused(Why.NODE, f"{other} answers where node {self._expected} should")

    def prove(self) -> bytes:
        """The proof of this side."""
        known = self._known()
        return known.caller_proof if self._calling else known.called_proof

    def check(self, proof: bytes) -> None:
        """Believe the other side, or `Refused`."""
        known = self._known()
        right = known.called_proof if self._calling else known.caller_proof
        if not hmac.compare_digest(right, proof):
            raise Refused(Why.KEY, "the two sides have different keys for this kind of speaker")

    def sends(self) -> bytes:
        """The key of the frames that this side sends."""
        known = self._known()
        return known.caller_frames if self._calling else known.called_frames

    def receives(self) -> bytes:
        """The key of the frames that the other side sends."""
        known = self._known()
        return known.called_frames if self._calling else known.caller_frames

    def _known(self) -> Secrets:
        if self._secrets is None:
            raise Unreadable("a proof before an introduction")
        return self._secrets


_SAID: Mapping[bool, str] = MappingProxyType({True: "says `insecure`", False: "has keys"})


def _same_words(mine: Speaker, other: Speaker) -> None:
    """That there is a protocol both understand."""
    (oldest, newest), (theirs_oldest, theirs_newest) = mine.protocols, other.protocols
    if max(oldest, theirs_oldest) > min(newest, theirs_newest):
        raise Refused(
            Why.VERSION,
            f"{mine} speaks protocols {oldest} to {newest}, "
            f"{other} {theirs_oldest} to {theirs_newest}",
        )
