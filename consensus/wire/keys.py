"""Keys: one for each kind of speaker, and what each connection derives from them."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from consensus.wire.errors import BadKey
from consensus.wire.hello import Party

KEY = 32
"""Bytes that a key has at least: whoever hears a handshake may try keys on it at home."""


class Keys:
    """The keys that a process holds: a node all of them, a worker or an operator only its own.

    Raises `BadKey` where `own` has no key, a key is short, or two kinds have the same.
    """

    def __init__(self, own: Party, keys: Mapping[Party, bytes]) -> None:
        if own not in keys:
            raise BadKey(f"there is no {own.name.lower()} key, which this process proves itself by")
        short = [party.name.lower() for party in sorted(keys) if len(keys[party]) < KEY]
        if short:
            raise BadKey(f"shorter than {KEY} bytes: {', '.join(short)}")
        if len(set(keys.values())) < len(keys):
            raise BadKey("two kinds of speakers have the same key: one could pass for the other")
        self.insecure = False
        self._keys = dict(keys)

    @classmethod
    def none(cls) -> "Keys":
        """No secret at all: whoever reaches the port may say anything. Only for settings that say
        `insecure`; who has keys refuses who has none."""
        keys = {party: sha256(b"insecure " + party.name.encode()).digest() for party in Party}
        made = cls(Party.PEER, keys)
        made.insecure = True
        return made

    def of(self, party: Party) -> bytes | None:
        """The key of a kind of speaker; None where this process has none."""
        return self._keys.get(party)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What one connection derives from the key of its caller's kind: the proof that each side
    shows, and the key of the frames that each side sends."""

    caller_proof: bytes
    called_proof: bytes
    caller_frames: bytes
    called_frames: bytes


def secrets(key: bytes, caller: bytes, called: bytes) -> Secrets:
    """Derived by HMAC-SHA-256 (RFC 2104) from both encoded introductions, hence from both nonces
    and everything that either side said of itself; each from another label, as in HKDF (RFC 5869).
    """
    spoken = len(caller).to_bytes(4) + caller + len(called).to_bytes(4) + called
    transcript = sha256(spoken).digest()
    labels = (
        b"proof of the caller",
        b"proof of the called",
        b"frames of the caller",
        b"frames of the called",
    )
    return Secrets(*(hmac.digest(key, label + transcript, "sha256") for label in labels))
