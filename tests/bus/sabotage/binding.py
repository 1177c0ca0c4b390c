"""Promise 22: binding again, and unbinding."""

from collections.abc import Sequence

from typing_extensions import override

from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group
from bus.keyvalue import keys
from bus.members import Members
from tests.bus.sabotage.registry import breaks

REBOUND = "test_binding_with_other_patterns_loses_nothing_accepted"
UNBOUND = "test_unbind_is_refused_while_anything_waits_unless_dropped"


@breaks(22, REBOUND)
class RebindDropsWaiting(MemoryBroker):
    """Binding with other patterns makes a new group, and what the old one had is gone."""

    @override
    def bind(self, name: str, patterns: Sequence[str]) -> None:
        group = self._groups.get(name)
        if group is not None and set(group.patterns) != set(patterns):
            self.unbind(name, drop=True)
        super().bind(name, patterns)


@breaks(22, "test_binding_again_with_the_same_patterns_changes_nothing")
class OrderOfPatternsMatters(MemoryBroker):
    """The same patterns in another order are taken for others, and make a new group."""

    @override
    def bind(self, name: str, patterns: Sequence[str]) -> None:
        group = self._groups.get(name)
        if group is not None and group.patterns != tuple(patterns):
            self.unbind(name, drop=True)
        super().bind(name, patterns)


@breaks(22, REBOUND)
class RebindKeepsOldPatterns(MemoryBroker):
    """Patterns are added; those that were dropped still route."""

    @override
    def bind(self, name: str, patterns: Sequence[str]) -> None:
        old = self._groups[name].patterns if name in self._groups else ()
        super().bind(name, [*patterns, *old])


@breaks(22, UNBOUND)
class UnbindNeverRefused(MemoryBroker):
    """A group is forgotten with all that waits for it."""

    @override
    def unbind(self, name: str, *, drop: bool) -> None:
        super().unbind(name, drop=True)


@breaks(22, UNBOUND)
class DelayedDoNotCount(Group):
    """A group is forgotten though delayed messages are on their way to it."""

    @override
    def empty(self) -> bool:
        return not (self._leases or any(self._lanes.values()))


@breaks(22, "test_a_group_bound_anew_starts_empty")
class DroppedComesBack(MemoryBroker):
    """What was dropped with a group is there again when it is bound anew."""

    @override
    def unbind(self, name: str, *, drop: bool) -> None:
        vars(self).setdefault("dropped", {})[name] = self._groups.get(name)
        super().unbind(name, drop=drop)

    @override
    def bind(self, name: str, patterns: Sequence[str]) -> None:
        group = vars(self).get("dropped", {}).pop(name, None)
        if group is not None:
            self._groups[name] = group
        super().bind(name, patterns)


BY_TURNS = "test_versions_that_start_by_turns_are_all_served"
AT_ONCE = "test_versions_that_start_at_once_are_all_served"


@breaks(22, BY_TURNS, AT_ONCE)
class LastVersionWins(Members):
    """A version that joins binds its own patterns and looks for no others."""

    @override
    async def _asked_for(self, group: str) -> frozenset[str]:
        return frozenset()


@breaks(22, "test_what_a_version_asked_for_goes_with_its_last_member")
class VersionsNeverGo(Members):
    """What a version asked for is asked for after its last member has gone."""

    @override
    async def _note(self, group: str, patterns: frozenset[str]) -> None:
        self._ttl = 1e6
        await super()._note(group, patterns)


@breaks(22, "test_an_outage_longer_than_the_notes_cuts_nobody_off")
class CutOffByOutage(Members):
    """The first to look after an outage binds what it finds, though the others live."""

    @override
    async def stay(self, group: str, patterns: Sequence[str]) -> None:
        self._seen.pop(group, None)
        await super().stay(group, patterns)


@breaks(22, "test_a_member_signs_as_long_as_it_stays")
class SignedOnce(Members):
    """When a member was last there is noted when it joins, and never again."""

    @override
    async def _sign(self, group: str) -> None:
        if group not in self._signed:
            await super()._sign(group)


@breaks(22, "test_a_group_whose_members_are_gone_is_told_from_others")
class ForgottenMembers(Members):
    """When a member was last there is kept for a second only."""

    @override
    async def _sign(self, group: str) -> None:
        await self._store.put(keys.seen(group), b"0", ttl=1.0)
