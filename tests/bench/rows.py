"""The rows of a table of measurements, and what the design's numbers say of each."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `target` and `verdict` are those of the design's numbers."""

    what: str
    least: float
    median: float
    most: float
    unit: str
    target: str = ""
    verdict: str = ""


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    cuts = quantiles(seconds, n=100)
    return median(seconds) * 1000, cuts[98] * 1000


def starts(raw: tuple[float, float], ours: tuple[float, float]) -> list[Row]:
    """Rows of p50 and p99 from publish to start, beside those of the driver to delivery."""
    rows = []
    for name, theirs, mine, more in zip(("p50", "p99"), raw, ours, (1.0, 5.0), strict=True):
        verdict = judge(theirs + more - mine >= 0, mine <= 2 * (theirs + more))
        target = f"raw + {more:g} ms"
        rows += [
            Row(f"raw publish to deliver, {name}", theirs, theirs, theirs, "ms"),
            Row(f"publish to start, {name}", mine, mine, mine, "ms", target, verdict),
        ]
    return rows


def rate(what: str, values: Sequence[float]) -> Row:
    """A row of a rate."""
    return Row(what, *spread(values), "/s")


def ratio(what: str, values: Sequence[float], target: float) -> Row:
    """A row of a ratio that should be at least `target`."""
    middle = median(values)
    verdict = judge(middle >= target, middle >= target / 2)
    return Row(what, *spread(values), "", f"at least {target:g}", verdict)


def at_most(what: str, values: Sequence[float], unit: str, target: float) -> Row:
    """A row of a time or size that should be at most `target`."""
    middle = median(values)
    verdict = judge(middle <= target, middle <= target * 2)
    return Row(what, *spread(values), unit, f"at most {target:g}", verdict)


def judge(reached: bool, near: bool) -> str:
    """Reached; missed by less than twofold; or not done."""
    return "reached" if reached else "missed" if near else "not done"


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, with the machine they were seen on."""
    head = (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}"
    )
    titles = "| what | least | median | most | unit | target | |"
    lines = [head, "", titles, "|---|--:|--:|--:|---|---|---|"]
    lines += [
        f"| {r.what} | {number(r.least)} | {number(r.median)} | {number(r.most)} | {r.unit} "
        f"| {r.target} | {r.verdict} |"
        for r in rows
    ]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three figures that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median and greatest."""
    return min(values), median(values), max(values)
