"""Secrets out of what a process says. Imported by the settings: it needs no logging for that."""

import re
from collections.abc import MutableMapping
from typing import Any

_CREDENTIALS = re.compile(r"(?<=://)([^\s/@:\"']*:|)[^\s/@\"']+@")
"""User and password, or a token, in a URL; the user may be read."""

_SECRET = re.compile(
    r"(?i)^(.*[_-])?(password|passwd|secret|token|api_?key|authorization|credentials?)$"
)
"""Names of fields whose text is nobody's business."""


def mask_fields(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Fields whose names say that they are secret, without their text. A processor of structlog."""
    for name, value in fields.items():
        if isinstance(value, str) and _SECRET.match(name):
            fields[name] = "***"
    return fields


def mask_line(_: Any, __: str, line: str) -> str:
    """A line without the passwords and tokens of its URLs. A processor of structlog, the last."""
    return _CREDENTIALS.sub(r"\1***@", line) if "://" in line else line
