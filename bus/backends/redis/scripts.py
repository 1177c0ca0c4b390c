"""The scripts that run on the server, each one step there: what is sent of them, and their names.

They are effects to the server's log (one transaction each) and touch keys of one fleet only, which
lie in one cluster slot. `allow-oom`: run also at `maxmemory`, because they make room or are needed
by what does; publishing alone is not, and is refused then.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True)
class Script:
    """Its text, and the hash by which the server knows it."""

    text: str
    sha: str


@cache
def script(
    name: str, flags: str = "allow-oom", folder: Path = _FOLDER, *, uses: str = ""
) -> Script:
    """The script `NAME.lua` behind `common.lua`, run with these flags. `uses`: another one that it
    calls as a function of its arguments."""
    common, own, used = (
        (folder / f"{part}.lua").read_text(encoding="utf-8") if part else ""
        for part in ("common", name, uses)
    )
    if used:
        used = f"local function {uses}(ARGV)\n{used}end\n"
    text = "".join([f"#!lua flags={flags}\n" if flags else "#!lua\n", common, used, own])
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


COMMIT = script("commit")
PUBLISH = script("commit", "")
TAKE = script("take")
RENEW = script("renew")
RING = script("ring")
BIND = script("bind")
UNBIND = script("unbind")
LAG = script("lag", "no-writes")
BINDINGS = script("bindings", "no-writes")
INLET = script("inlet")
INGEST = script("ingest", uses="commit")
PARK = script("park")
