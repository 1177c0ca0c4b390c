"""Words that people use for each other when they ask: a small, fixed, general English list.

Written by hand from everyday usage, no outside source. A passage that says it in another word
counts less than one that uses the question's own word (`ranking.NEAR`).
"""

from functools import lru_cache

from workers.documents.terms import stem

_GROUPS = """
cost price fee charge priced expense expensive cheap
lead leader led head manager chief director
launch release start ship begin go-live debut
end finish stop stopped complete conclude
buy purchase acquire bought
fix repair mend resolve remedy
fix patch
delete remove erase drop
create make build generate
change modify alter edit update
error failure fault
fail crash die break
maximum max limit cap most upper
minimum min least lower
memory ram mib mb
quick fast speed
slow latency delay
mass weight weigh weighs kg
size large big bytes
length long duration
duration long time timeout
location located site based headquarters headquartered office
author wrote written writer
found founded establish established
cause because reason
require need required requirement must
allow permit permitted may
forbid forbidden prohibit never
default standard
supplier supply vendor manufacturer maker
deliver delivery delivered supply
staff employee headcount personnel
revenue turnover sales
profit earnings margin
retry retries retried again
store save kept keep persist
licence license licensed
contact email phone
owner own owned owns responsible
choose select pick chose
reject refuse denied deny
happen occur
rule policy
guarantee promise
deadline due expire
replace supersede superseded
warranty guarantee
voltage volt
temperature degree celsius
range distance
colour color
""".strip()


@lru_cache(maxsize=1)
def _neighbours() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for line in _GROUPS.splitlines():
        stems = {stem(word) for word in line.split()}
        for each in stems:
            table.setdefault(each, set()).update(stems - {each})
    return {word: frozenset(others) for word, others in table.items()}


def near(term: str) -> frozenset[str]:
    """The stems of other words for `term` (itself a stem); often none."""
    return _neighbours().get(term, frozenset())
