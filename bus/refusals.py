"""Why something cannot be done to a dead letter, in three lines each."""

from bus.errors import Conflict, NotDead, ReplayRefused


def not_dead(group: str, task: str) -> NotDead:
    """There is no such dead letter."""
    return NotDead(
        f"{task} is not a dead letter of {group}",
        details="it was never dead, or has been replayed or purged",
        actions=("list them with `muster dlq ls`",),
    )


def taken(group: str, task: str) -> NotDead:
    """Somebody else was quicker."""
    return NotDead(
        f"{task} is no longer a dead letter of {group}",
        details="somebody else replayed or purged it at the same moment",
        actions=("list what is left with `muster dlq ls`",),
    )


def on_its_way(group: str, task: str) -> NotDead:
    """A replay has begun."""
    return NotDead(
        f"{task} is being replayed to {group}",
        details="a replay has begun; its task may be on its way already",
        actions=(f"complete it: `muster dlq replay {task}`",),
    )


def changed(group: str, task: str) -> Conflict:
    """It is not what was looked at."""
    return Conflict(
        f"the dead letter {task} of {group} was changed meanwhile",
        details="somebody else edited it, or it was replayed and died again",
        actions=(f"look at it again: `muster dlq show {task}`",),
    )


def replayed_often(task: str, replays: int, why: str) -> ReplayRefused:
    """The guard against endless replays."""
    return ReplayRefused(
        f"{task} has been replayed {replays} times already",
        details=why,
        actions=("mend the cause first", "or repeat with --force"),
    )
