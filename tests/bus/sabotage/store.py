"""The key-value store: what entries, pages, expiry and watches promise."""

from dataclasses import replace
from math import inf

from typing_extensions import override

from bus.keyvalue.memory import MemoryKeyValue, MemoryStore, Watcher
from bus.keyvalue.protocol import (
    ABSENT,
    Absent,
    Change,
    Current,
    Entry,
    Removed,
    Revision,
    Snapshot,
)
from bus.sizes import check_value
from bus.waking import Bell
from tests.bus.sabotage.registry import breaks

STORE = 0


@breaks(STORE, "test_what_was_put_is_there_for_everybody")
class ReadsItsOwnWritesOnly(MemoryKeyValue):
    """A connection answers from what it has seen before."""

    @override
    async def get(self, key: str) -> Entry | None:
        found = await super().get(key)
        known = self.__dict__.setdefault("seen", {})
        return known.setdefault(key, found)  # type: ignore[no-any-return]


@breaks(STORE, "test_values_are_any_bytes_up_to_the_limit")
class EmptyIsAbsent(MemoryStore):
    """An entry without a value is taken for none."""

    @override
    def get(self, key: str) -> Entry | None:
        found = super().get(key)
        return found if found is not None and found.value else None


def anything_fits(key: str, value: bytes) -> None:
    """Values of any size are taken."""


breaks(STORE, "test_a_value_over_the_limit_is_refused", replaces=check_value)(anything_fits)


@breaks(
    STORE,
    "test_put_with_absent_writes_only_once",
    "test_of_many_that_compare_and_set_at_once_one_wins",
)
class AbsentIsNotCompared(MemoryStore):
    """An entry that is there is overwritten by who expected none."""

    @override
    def _compare(self, key: str, expect: Revision | Absent | None) -> None:
        super()._compare(key, None if expect is ABSENT else expect)


@breaks(
    STORE,
    "test_put_with_a_revision_writes_only_on_that_one",
    "test_counting_by_compare_and_set_loses_nothing",
)
class RevisionIsNotCompared(MemoryStore):
    """The last writer wins, whatever it expected."""

    @override
    def _compare(self, key: str, expect: Revision | Absent | None) -> None:
        super()._compare(key, expect if expect is ABSENT else None)


@breaks(STORE, "test_delete_says_whether_it_removed_something")
class DeletesWhateverIsThere(MemoryStore):
    """An entry that has changed meanwhile is removed all the same."""

    @override
    def delete(self, key: str, expect: Revision | None) -> bool:
        return super().delete(key, None)


@breaks(
    STORE,
    "test_an_entry_expires_at_its_time",
    "test_an_expiry_is_a_change_within_a_second",
)
class NothingExpires(MemoryStore):
    """Entries stay for ever."""

    @override
    def _expire(self) -> None:
        return


@breaks(STORE, "test_a_later_put_replaces_the_expiry")
class FirstExpiryCounts(MemoryStore):
    """An entry that was renewed goes at the time it had at first."""

    @override
    def _expire(self) -> None:
        now = self.clock.monotonic()
        for index, (until, key, _) in enumerate(self._expiries):
            entry = self._entries.get(key)
            if until <= now and entry is not None:
                self._expiries[index] = (until, key, entry.revision)
        super()._expire()


@breaks(STORE, "test_list_is_in_order_and_in_pages")
class PagesSkip(MemoryStore):
    """The entry that a page would begin with is on none."""

    @override
    def list(self, prefix: str, after: str | None, limit: int) -> list[Entry]:
        found = super().list(prefix, after, limit + 1)
        return found[1:] if after else found[:limit]


@breaks(STORE, "test_a_page_has_500_entries_unless_told")
class PagesAreCut(MemoryStore):
    """A page holds a hundred entries at most, and the next begins behind the five hundredth."""

    @override
    def list(self, prefix: str, after: str | None, limit: int) -> list[Entry]:
        return super().list(prefix, after, limit)[:100]


@breaks(STORE, "test_prefixes_do_not_leak", "test_a_watch_hears_of_its_prefix_only")
class PrefixesLeak(MemoryStore):
    """A prefix is taken without the slash it ends with."""

    @override
    def list(self, prefix: str, after: str | None, limit: int) -> list[Entry]:
        return super().list(prefix.rstrip("/"), after, limit)


@breaks(STORE, "test_a_watch_begins_with_a_snapshot_and_tells_changes")
class DeletesAreNotTold(MemoryStore):
    """A watch hears of what is written only."""

    @override
    def _tell(self, key: str, change: Change) -> None:
        if not isinstance(change, Removed):
            super()._tell(key, change)


@breaks(STORE, "test_the_snapshot_of_nothing_is_empty")
class SilentUntilThereIsSomething(MemoryStore):
    """A watch of nothing says nothing, and nobody knows whether it is up to date."""

    @override
    def watch(self, prefix: str) -> Watcher:
        watcher = super().watch(prefix)
        if watcher.changes[0] == Snapshot(()):
            watcher.changes.clear()
        return watcher


@breaks(STORE, "test_a_large_snapshot_is_one_and_complete")
class SnapshotIsAPage(MemoryStore):
    """A snapshot ends where a page does."""

    @override
    def _snapshot(self, prefix: str) -> Snapshot:
        return Snapshot(super()._snapshot(prefix).entries[:500])


@breaks(STORE, "test_nothing_is_missed_between_snapshot_and_changes")
class ChangesBeginAfterTheSnapshotIsRead(MemoryStore):
    """What changes while a snapshot is on its way is not told."""

    @override
    def watch(self, prefix: str) -> Watcher:
        watcher = super().watch(prefix)
        del self._watchers[watcher]
        return watcher

    @override
    def next_change(self, watcher: Watcher, bell: Bell) -> Change | float:
        change = super().next_change(watcher, bell)
        if not isinstance(change, Snapshot):
            self._watchers[watcher] = None
        return change


@breaks(STORE, "test_an_expiry_is_a_change_within_a_second")
class ExpiryLooksLikeADelete(MemoryStore):
    """Nobody can tell what expired from what somebody removed."""

    @override
    def _remove(self, key: str, *, expired: bool) -> None:
        super()._remove(key, expired=False)


@breaks(STORE, "test_an_expiry_is_told_to_a_watch_that_began_later")
class OnlyOldWatchesHearOfExpiry(MemoryStore):
    """Who knows an entry from its snapshot only is not told that it expired."""

    @override
    def _tell(self, key: str, change: Change) -> None:
        if not (isinstance(change, Removed) and change.expired):
            super()._tell(key, change)


@breaks(STORE, "test_a_watch_gets_a_snapshot_again_after_the_broker_was_killed")
class NoSecondSnapshot(MemoryStore):
    """After an outage a watch goes on as if nothing had changed meanwhile."""

    @override
    def restore(self) -> None:
        self._down = False


@breaks(STORE, "test_entries_survive_a_killed_broker")
class ForgetsAtAnOutage(MemoryStore):
    """Entries are in memory only: a broker that comes back has some of them."""

    @override
    def restore(self) -> None:
        for key in self._keys[::2]:
            self._entries[key] = replace(self._entries[key], key="a/?")
        super().restore()


@breaks(STORE, "test_only_bus_errors_leave_a_store")
class AnswersWhenClosed(MemoryKeyValue):
    """A store that was closed goes on answering."""

    @override
    async def close(self) -> None:
        return


@breaks(STORE, "test_a_broker_that_is_gone_says_nothing_and_is_heard_again")
class SilenceIsConsent(MemoryStore):
    """Who follows is told that nothing has changed, though nobody could be asked."""

    @property
    @override
    def down(self) -> bool:
        return False


@breaks(
    STORE,
    "test_a_follower_is_told_that_nothing_has_changed",
    "test_what_is_current_lies_little_behind",
)
class CurrentOnce(MemoryKeyValue):
    """Who follows is told once up to when all is known, and never again."""

    @override
    async def _next(self, watcher: Watcher, due: float) -> Change | Current:
        return await super()._next(watcher, due if due == -inf else inf)


@breaks(
    STORE,
    "test_a_follower_is_told_that_nothing_has_changed",
    "test_what_was_put_before_a_moment_was_told_before_it",
)
class CurrentTooSoon(MemoryKeyValue):
    """What was put a moment ago is told after it is said to be known."""

    @override
    async def _next(self, watcher: Watcher, due: float) -> Change | Current:
        found = await super()._next(watcher, due)
        if isinstance(found, Current):
            return replace(found, monotonic=found.monotonic + 1.0)
        return found
