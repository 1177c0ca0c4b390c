"""Any command there can be, and any that is nearly one."""

from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from consensus.ledger.commands import Command, InSession
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import KINDS, MAX_STAMP, Entry

U64 = st.integers(0, (1 << 64) - 1)
_LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1)
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: U64 | st.integers(0, 5),
    Signed: st.integers(-(1 << 63), (1 << 63) - 1),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    bytes: st.binary(max_size=600) | st.binary(min_size=32, max_size=32),
    tuple[str, ...]: st.lists(_LINE, max_size=4, unique=True).map(tuple),
}


def _commands(cls: type[Command]) -> st.SearchStrategy[Command]:
    return st.builds(cls, **{field.name: _BY_TYPE[field.type] for field in fields(cls)})


def _entry(command: Command, stamp: int, of_session: tuple[int, int, int]) -> Entry:
    if isinstance(command, InSession):
        return Entry(stamp, command, *of_session)
    return Entry(stamp, command)


COMMANDS = st.one_of(*(_commands(cls) for cls in KINDS.values()))
"""Well-formed; of any range."""

ENTRIES = st.builds(_entry, COMMANDS, st.integers(0, MAX_STAMP - 1), st.tuples(U64, U64, U64))
