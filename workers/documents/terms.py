"""Words of a text as the terms that are compared: folded, stemmed, identifiers kept whole.

Stemming is Snowball English ("Porter2", M. Porter, 2001). A compound such as `P-204`,
`docs/api.md`, `CVE-2024-3094`, `sync_interval` or `v2.1` gives itself and its parts.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Any

import snowballstemmer

_CHUNK = re.compile(r"\w+(?:[-._/:@+#'’]\w+)*")
_PART = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OUTER = re.compile(r"[/:@'’]")
_VERSION = re.compile(r"v(\d[\w.]*)")

STOPWORDS = frozenset(
    """a about above after again against all also am an and any are as at be because been before
    being below between both but by can cannot could did do does doing don down during each either
    else ever every few for from further had has have having he her here hers herself him himself
    his how i if in into is isn it its itself just let ll m may me might more most must my myself
    neither no nor not now of off on once only or other our ours out over own per please re s same
    shall she should so some such t than that the their theirs them themselves then there these
    they this those through to too under until up upon us ve very was we were what whatever when
    where whether which while who whom whose why will with within without would yes yet you your
    yours""".split()
)

WEAK = frozenset(
    """answer call come compare contain count define describe detail document explain exact exactly
    exist file find folder get give go got happen have kind know list long look make many mean
    mention much name need number often old one people say section see show sort state tell term
    thing type use used user way within work write information less amount date day month value
    year according current currently actually usually really generally available possible
    certain different first last new text project team company department group corp inc ltd mr
    mrs ms dr""".split()
)


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The stem of one folded word; a word with a digit stays as it is."""
    if len(word) < 3 or not word.isalpha():
        return word
    return str(_stemmer().stemWord(word))


def fold(text: str) -> str:
    """The text in the form in which it is compared: compatibility forms, no case, no accents."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def chunks(text: str) -> list[str]:
    """The words of a text as written, compounds whole."""
    return _CHUNK.findall(text)


def is_identifier(chunk: str) -> bool:
    """Whether a word names one thing exactly: a code, part number, version, path or symbol."""
    letters = any(c.isalpha() for c in chunk)
    digits = any(c.isdigit() for c in chunk)
    if letters and digits:
        return True
    if letters:
        return any(c in "_./:@#" for c in chunk) or bool(_HUMP.search(chunk))
    return digits and sum(not c.isdigit() for c in chunk) >= 2


@lru_cache(maxsize=200_000)
def terms_of(chunk: str) -> tuple[str, ...]:
    """The terms one word stands for; stop words give none."""
    found: dict[str, None] = {}
    for piece in {chunk, *_OUTER.split(chunk)}:
        if is_identifier(piece):
            whole = fold(piece)
            found[whole] = None
            if version := _VERSION.fullmatch(whole):
                found[version[1]] = None
    for word in _PART.findall(chunk):
        for part in (word, *_HUMP.split(word)):
            folded = fold(part)
            if folded not in STOPWORDS:
                found[stem(folded)] = None
    return tuple(found)


def terms(text: str) -> set[str]:
    """All terms of a text."""
    found: set[str] = set()
    for chunk in _CHUNK.findall(text):
        found.update(terms_of(chunk))
    return found
