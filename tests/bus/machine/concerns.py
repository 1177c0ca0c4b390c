"""Which sabotages the machine has to find: all but those named here, each with its reason."""

from collections.abc import Mapping
from types import MappingProxyType

_ENGINE = "it is a part of the engine, which the machine does not run"
_SIZES = "the machine's bodies are small: sizes have tests of their own"

BEYOND: Mapping[str, str] = MappingProxyType(
    {
        "bodies_checked_only": _SIZES,
        "no_size_refused": _SIZES,
        "BatchesAreCut": "the machine's batches are small",
        "OneDelayPerTask": "in a group only one copy of a task lives at a time",
        "ThenNeedsEveryInput": "`Bus` settles alone what leaves something behind",
        "KeeperSleeps": _ENGINE,
        "MonotonicOnly": _ENGINE,
        "NeverGivesUp": _ENGINE,
        "WaitsForTheRenewal": _ENGINE,
        "HoldsForEver": _ENGINE,
        "any_payload_runs": _ENGINE,
        "KeepsWhatItHolds": _ENGINE,
        "CutsWhatRuns": _ENGINE,
        "RunsGoFirst": _ENGINE,
    }
)
"""The sabotages that do not concern the machine."""
