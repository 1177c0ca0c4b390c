"""Certificates of an authority that nobody trusts yet, for servers of tests that speak TLS."""

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: a server's `key` (PKCS 8, the one form that every server reads), its `chain`,
    and the `authority` that whoever is to trust it must know."""

    key: Path
    chain: Path
    authority: Path


def issued(folder: Path) -> Certificates:
    """New ones for this machine's loopback, as `key.pem`, `chain.pem` and `authority.pem`."""
    files = Certificates(*(folder / f"{name}.pem" for name in ("key", "chain", "authority")))
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files.chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(files.authority)
    return files
