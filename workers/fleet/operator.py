"""Who decides, and what is told of what was done."""

import getpass
import os
import socket
from typing import Any

from contracts.deeds import Action, Deed, Scope
from contracts.ids import new_id


def whoami() -> str:
    """The person and machine that decide: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def deed(action: Action, now: float, scope: Scope, target: str = "", **said: Any) -> Deed:
    """What was done at `now` by whoever runs this process. `said`: fields of a `Deed`; whatever is
    none of them, and not empty, becomes its data."""
    fields = {name: said.pop(name) for name in list(said) if name in Deed.__dataclass_fields__}
    data = {name: value for name, value in said.items() if value not in {None, "", False}}
    found: dict[str, Any] = {"id": new_id(now), "at": now, "by": whoami(), "data": data}
    return Deed(action=action, scope=scope, target=target, **found, **fields)
