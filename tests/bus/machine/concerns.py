"""Which sabotages the machine has to find: all but those named here, each with its reason."""

from collections.abc import Mapping
from types import MappingProxyType

from tests.bus.sabotage.registry import Sabotage

_ENGINE = "it is a part of the engine, which the machine does not run"
_HOLD = "ids that hold for longer than the window are not among what the machine publishes"
_FULL = "the machine's broker has no limit: a full one has tests of its own"
_SIZES = "the machine's bodies are small: sizes have tests of their own"
_HEALTH = "it is a part of what watches the broker, which the machine does not run"
_MEMBERS = "the machine's groups are bound, not joined"
_TOLD = "nobody listens to what is told in the machine"
_SIGNED = "who replays or changes a dead letter is not part of the model"
_ORDER = "in what order tasks start is not part of the model: lanes have tests of their own"

BEYOND: Mapping[str, str] = MappingProxyType(
    {
        "bodies_checked_only": _SIZES,
        "no_size_refused": _SIZES,
        "KeysHoldForTheWindowOnly": _HOLD,
        "NotedBeforeItIsOut": _HOLD,
        "KeysHoldForEver": _HOLD,
        "RunsForgetWhatTheyPublished": _ENGINE,
        "LooksNowAndThen": "it costs operations and changes nothing that happens",
        "NeverFull": _FULL,
        "DroppedWhenFull": _FULL,
        "SettlesAreRefusedToo": _FULL,
        "StaysFull": _FULL,
        "FollowUpsWaitForRoom": _FULL,
        "FollowUpsHaveNoLimit": _FULL,
        "names_nobody": _FULL,
        "BatchesAreCut": "the machine's batches are small",
        "OneDelayPerTask": "in a group only one copy of a task lives at a time",
        "ThenNeedsEveryInput": "`Bus` settles alone what leaves something behind",
        "KeeperSleeps": _ENGINE,
        "MonotonicOnly": _ENGINE,
        "NeverGivesUp": _ENGINE,
        "WaitsForTheRenewal": _ENGINE,
        "HoldsForEver": _ENGINE,
        "any_payload_runs": _ENGINE,
        "EveryClaimIsMine": _ENGINE,
        "EndsAreForgotten": _ENGINE,
        "TheLastEndWins": _ENGINE,
        "HandsBackWhatBegan": _ENGINE,
        "snoozes_begin_again": _ENGINE,
        "KeepsWhatItHolds": _ENGINE,
        "CutsWhatRuns": _ENGINE,
        "RunsGoFirst": _ENGINE,
        "only_ids_are_stopped": "the machine cancels by id only",
        "OnceFreshAlwaysFresh": "nothing is hidden from the views of the machine's processes",
        "WhatRunsRunsOn": _ENGINE,
        "ChildrenGoOn": _ENGINE,
        "CancelledOnce": _ENGINE,
        "RefusalIsAnAnswer": _HEALTH,
        "NobodyAsks": _HEALTH,
        "AlwaysReady": _HEALTH,
        "OnlyTheBrokerCounts": _HEALTH,
        "WaitsForEver": _HEALTH,
        "QuietWorker": _HEALTH,
        "LastVersionWins": _MEMBERS,
        "VersionsNeverGo": _MEMBERS,
        "CutOffByOutage": _MEMBERS,
        "SignedOnce": _MEMBERS,
        "ForgottenMembers": _MEMBERS,
        "StrictPriority": _ORDER,
        "Reversed": _ORDER,
        "OnePullInTen": _ORDER,
        "NoTurnsBelow": _ORDER,
        "LowerOnesLast": _ORDER,
        "FirstPulledFirst": _ORDER,
        "ComesBackForFreePlacesOnly": _ORDER,
        "ComesBackAtOnce": _ORDER,
        "SliceAfterSlice": _ORDER,
        "SliceForgotten": _ORDER,
        "SlicesBeyondTheNumberLost": _ORDER,
        "LanesWithoutSlices": _ORDER,
        "NeverTold": _TOLD,
        "ToldLater": _TOLD,
        "ToldUntilKilled": _TOLD,
        "EndsAreNotTold": _TOLD,
        "replays_untold": _TOLD,
        "ReplaysUnsigned": _SIGNED,
        "LastEditWins": _SIGNED,
    }
)
"""The sabotages that do not concern the machine."""


def concerns(sabotage: Sabotage) -> bool:
    """Whether the machine has to find it. What breaks the key-value store alone (promise 0) has a
    suite of its own; of the store the machine uses dead letters, notes and marks only."""
    return sabotage.promise > 0 and sabotage.name not in BEYOND
