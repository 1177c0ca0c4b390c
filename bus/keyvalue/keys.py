"""All families of keys, in one place.

| family | key | writer | reader | lives |
|---|---|---|---|---|
| alive | alive/ROLE/WORKER | each worker process | ps, doctor | 3 × its renewal |
| last | last/WORKER | a worker process that runs tasks | task show | 24 h, or until it ends |
| outcome | outcome/REPLY/ID | settle, before its input goes | whoever waits, parents | 24 h |
| outcome | outcome/AUCTION/TOKEN | who ran an auctioned task | who publishes it | 30 days at most |
| auction | auction/AUCTION | who offers a task | who runs it | 30 days at most |
| progress | progress/REPLY/ID | a running task somebody waits for | whoever waits | 10 min |
| part | part/REPLY/ID/RUN/ROLE/NUMBER | a running task that streams | its caller | 1 h |
| dead | dead/GROUP/ID | settle, before its input goes | dlq | until replayed or purged |
| key | key/ID | publish, once the task is safe | publish of the same key | as long as asked |
| once | once/GROUP/ID/REPLAY | a worker, before a task that may start once | the same | as asked |
| begun | begun/GROUP/ID | a worker, before a task's last attempt | who counts its crash | 24 h |
| sweep | sweep/streams | the process that sweeps a NATS fleet's streams | the others | 2 s |
| rate | rate/bucket/SCOPE | who starts a task of a limited rate | the same | until it is idle |
| rate | rate/places/SCOPE/held | who starts and ends runs of a limited number | the same | 7 days |
| rate | rate/holder/PROCESS | a process that holds such places | who finds none | one lease |
| rate | rate/quota/TENANT | publish, before it sends | publish | until the window ends |
| listens | listens/GROUP/VERSION | members of a group: their patterns | the others | 60 s |
| scale | scale/wanted/ROLE | `muster scale` | each supervisor | until reset |
| scale | scale/auto/ROLE | the supervisor that scales | each supervisor, scale | for ever |
| scale | scale/scaler | the supervisor that scales | each supervisor | one lease |
| machine | machine/NAME | a supervisor, four times a lease | the others, ps, scale | one lease |
| seat | seat/ROLE/NUMBER | the machine that has the seat | the others | until it is given up |
| listener | listener/GROUP/bound | who hears events for a while | the next one | until unbind |
| listener | listener/GROUP/alive | the same, three times a minute | the next one | 60 s |
| seen | seen/GROUP | members of a group, once a minute | lag, doctor | until unbind |
| stop | stop/KIND/NAME, stop/all | cancel, purge, pause | each worker process | 400 days, or ever |
| route | route/away | who misses the first of two buses | ps, doctor | until it is back |
| binding | binding/GROUP | bind, where kept here | publish, ps, `Unroutable` | until unbind |
"""

from collections.abc import Sequence
from urllib.parse import quote, unquote

OUTCOME_TTL = 24 * 3600.0
LAST_TTL = 24 * 3600.0
PROGRESS_TTL = 600.0
PARTS_TTL = 3600.0
BEGUN_TTL = 24 * 3600.0
DAY = 24 * 3600.0
STOP_TTL = 400 * DAY

STOPS = "stop/"
STOP_ALL = "stop/all"

ROUTE_AWAY = "route/away"

SCALE = "scale/"
SCALER = "scale/scaler"


def _word(text: str) -> str:
    """`text` as one word of a key: a slash in it must not make two."""
    return quote(text, safe=" !$&'()*+,:;<=>?@[]{}~^`|\"#") if "/" in text or "%" in text else text


def last_word(key: str) -> str:
    """The last word of a key as it was before it became one."""
    return unquote(key.rpartition("/")[2])


def alive(role: str = "", worker: str = "") -> str:
    """Key of a worker, prefix of a role's workers, or of all."""
    return "/".join(["alive", *filter(None, (role, worker))]) + ("" if worker else "/")


def last(worker: str) -> str:
    """Key of when a worker that ran tasks was last there, which outlives it."""
    return f"last/{worker}"


def outcome(reply: str, task: str = "") -> str:
    """Key of a task's outcome, or the prefix of all that `reply` asked for."""
    return f"outcome/{_word(reply)}/{_word(task)}"


def progress(reply: str, task: str = "") -> str:
    """Key of a task's latest progress, or the prefix of all that `reply` asked for."""
    return f"progress/{_word(reply)}/{_word(task)}"


def part(reply: str, task: str, run: int = 0, role: str = "", number: int = 0) -> str:
    """Key of some parts of a task's result, from `number` on, or prefix of all; in order."""
    prefix = f"part/{_word(reply)}/{_word(task)}/"
    return f"{prefix}{run:010d}/{role}/{number:010d}" if role else prefix


def dead(group: str = "", task: str = "") -> str:
    """Key of a dead letter, prefix of a group's, or of all."""
    if not group:
        return "dead/"
    return f"dead/{group}/{_word(task)}"


def begun(group: str, task: str) -> str:
    """Key of the note that a task's last attempt has begun; its value is the copy that did."""
    return f"begun/{group}/{_word(task)}"


def once(group: str, task: str, replay: str) -> str:
    """Key of the claim of a task that may be started once, published or given back by `replay`."""
    return f"once/{group}/{_word(task)}/{_word(replay)}"


def stop(kind: str, name: str) -> str:
    """Key of the mark that stops a task, a role's or a tenant's tasks, those about a subject; or
    that pauses a role."""
    return f"stop/{kind}/{_word(name)}"


def published(task: str) -> str:
    """Key of the note that a task was published, under an id that shall hold."""
    return f"key/{_word(task)}"


def bucket(scope: Sequence[str]) -> str:
    """Key of the state of a limited rate."""
    return "/".join(["rate/bucket", *map(_word, scope)])


def places(scope: Sequence[str]) -> str:
    """Prefix of the one entry that says who holds places of a limited concurrency."""
    return "/".join(["rate/places", *map(_word, scope), ""])


def holder(process: str = "") -> str:
    """Key of the sign of life of a process that holds places, or the prefix of all."""
    return f"rate/holder/{process}"


def quota(tenant: str) -> str:
    """Key of how much a tenant has published in the present window."""
    return f"rate/quota/{_word(tenant)}"


def listens(group: str, version: str = "") -> str:
    """Key of the patterns that a version of a group's members asks for, or prefix of all."""
    return f"listens/{group}/{version}"


def seen(group: str = "") -> str:
    """Key of when a member of a group was last there, or the prefix of all."""
    return f"seen/{group}"


def wanted(role: str = "") -> str:
    """Key of how many processes of a role somebody wants, or the prefix of all."""
    return f"scale/wanted/{role}"


def auto(role: str = "") -> str:
    """Key of how many the work asks for, where the number follows it, or the prefix of all."""
    return f"scale/auto/{role}"


def machine(name: str = "") -> str:
    """Key of a supervisor's sign of life, or the prefix of all."""
    return f"machine/{name}"


def seat(role: str, number: int) -> str:
    """Key of one process's place among those of its role; its value is the machine's name."""
    return f"seat/{role}/{number}"


def seats() -> str:
    """Prefix of all seats."""
    return "seat/"


def binding(group: str = "") -> str:
    """Key of a group's binding, or the prefix of all."""
    return f"binding/{group}"


def listener(group: str = "", what: str = "") -> str:
    """Prefix of what is known of somebody who only listens, or of all; `what`: that it is
    `bound`, or that it is `alive`."""
    return f"listener/{group}/{what}" if group else "listener/"
