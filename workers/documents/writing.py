"""The brief: numbered citations from the selection and the analysis, and its Markdown.

The Markdown is a function of the brief's other fields, so it can say nothing they do not hold.
"""

from collections.abc import Iterator, Mapping, Sequence

from workers.documents.analysis import label
from workers.documents.model import (
    Analysis,
    Answer,
    Answered,
    Brief,
    Citation,
    Figure,
    Finding,
    Place,
    Selection,
    Skipped,
)
from workers.documents.questions import Part, parse
from workers.documents.quoting import best_quote
from workers.documents.ranking import weigh
from workers.documents.terms import terms

MOST = 12
MOST_SKIPPED = 20


def assemble(selection: Selection, analysis: Analysis) -> Brief:
    """Number what was selected and computed, and write it down."""
    register = _Register()
    figures = [register.add_figure(figure) for figure in analysis.figures]
    answers = tuple(
        _answer(register, selection, number, chosen, figures)
        for number, chosen in enumerate(selection.parts)
    )
    brief = Brief(
        question=selection.question,
        status="answered" if register.citations else "not found",
        answers=answers,
        citations=tuple(register.citations),
        figures=tuple(figures),
        skipped=selection.skipped,
        files_read=selection.counts.files,
        passages_read=selection.counts.passages,
    )
    return with_markdown(brief)


class _Register:
    """Gives each different quote one number."""

    def __init__(self) -> None:
        self.citations: list[Citation] = []

    def add(self, citation: Citation) -> int:
        """The number a quote gets; 0 when the brief is full."""
        for known in self.citations:
            if known.place == citation.place and known.quote == citation.quote:
                return known.number
        if len(self.citations) >= MOST or not citation.quote:
            return 0
        number = len(self.citations) + 1
        self.citations.append(citation.model_copy(update={"number": number}))
        return number

    def add_finding(self, finding: Finding, part: Part, weights: Mapping[str, float]) -> int:
        """Cite the best of a finding; its heading too, if that holds words of the question."""
        quote = best_quote(finding, weights, part.shape)
        needed = not terms(finding.heading).isdisjoint(weights.keys() - terms(quote.text))
        return self.add(
            Citation(
                number=0,
                place=quote.place,
                quote=quote.text,
                sha256=finding.sha256,
                kind=finding.kind,
                heading=finding.heading if needed else "",
            )
        )

    def add_figure(self, figure: Figure) -> Figure:
        recipe = figure.recipe
        place = Place(file=recipe.file, line=figure.line, last_line=figure.last_line)
        number = self.add(
            Citation(number=0, place=place, quote=figure.quote, sha256=recipe.sha256, kind="row")
        )
        return figure.model_copy(update={"citation": number})


def _answer(
    register: _Register,
    selection: Selection,
    number: int,
    chosen: Answered,
    figures: Sequence[Figure],
) -> Answer:
    part = parse(selection.question).parts[number]
    weights = weigh(part, selection.counts)
    mine = [index for index, figure in enumerate(figures) if figure.part == number]
    computed = {figures[index].recipe.file for index in mine}
    numbers: list[int] = []
    for finding in chosen.findings:
        if finding.kind in ("row", "record") and finding.place.file in computed:
            continue
        numbers.append(register.add_finding(finding, part, weights))
    return Answer(
        part=chosen.part,
        citations=tuple(dict.fromkeys(n for n in numbers if n)),
        figures=tuple(mine),
        missing=chosen.missing,
    )


def with_markdown(brief: Brief) -> Brief:
    """The brief with its Markdown written anew from its other fields."""
    return brief.model_copy(update={"markdown": "\n".join(_lines(brief)).rstrip() + "\n"})


def _lines(brief: Brief) -> Iterator[str]:
    yield f"# {_plain(brief.question)}"
    yield ""
    if brief.status == "not found":
        yield from _not_found(brief)
    else:
        for answer in brief.answers:
            yield from _answer_lines(brief, answer)
        yield from _figure_lines(brief)
        yield from _source_lines(brief)
    yield from _rejected_lines(brief)
    yield from _skipped_lines(brief.skipped)
    yield f"Searched {brief.passages_read:,} passages of {brief.files_read:,} files. " + (
        "Each quote and figure was checked against its file."
        if brief.validated
        else "Not yet checked against the files."
    )


def _not_found(brief: Brief) -> Iterator[str]:
    yield "**Not found.** Nothing in this folder answers the question."
    yield ""
    missing = dict.fromkeys(word for answer in brief.answers for word in answer.missing)
    if missing:
        yield f"No passage mentions: {', '.join(_plain(word) for word in missing)}."
        yield ""


def _answer_lines(brief: Brief, answer: Answer) -> Iterator[str]:
    if len(brief.answers) > 1:
        yield f"## {_plain(answer.part[:1].upper() + answer.part[1:])}"
        yield ""
    cited = {citation.number: citation for citation in brief.citations}
    for index in answer.figures:
        yield f"- {_figure(brief.figures[index])}"
    if answer.figures:
        yield ""
    for number in answer.citations:
        yield f"> {_under(cited[number])}“{_plain(cited[number].quote)}” [{number}]"
        yield ""
    if not answer.citations and not answer.figures:
        words = f" No passage mentions: {', '.join(answer.missing)}." if answer.missing else ""
        yield f"Not found in this folder.{words}"
        yield ""


def _figure(figure: Figure) -> str:
    unit = f" {_plain(figure.unit)}" if figure.unit else ""
    at = f" ({_plain(figure.at)})" if figure.at else ""
    return f"{_plain(figure.label)}: **{figure.value}{unit}**{at} [{figure.citation}]"


def _figure_lines(brief: Brief) -> Iterator[str]:
    if not brief.figures:
        return
    yield "## Figures"
    yield ""
    for figure in brief.figures:
        yield f"- {figure.value}: {_recipe(figure)} [{figure.citation}]"
    yield ""


def _recipe(figure: Figure) -> str:
    recipe = figure.recipe
    rows = f"{figure.rows} row{'s' if figure.rows != 1 else ''}"
    lines = f"{figure.line}–{figure.last_line}" if figure.rows != 1 else str(figure.line)
    order = f", in the order of {_plain(recipe.order)}" if recipe.order else ""
    without = f"; {figure.skipped_rows} more without a number" if figure.skipped_rows else ""
    return (
        f"{_plain(label(recipe))}{order}, over {rows} of “{_plain(recipe.table_name)}” in"
        f" `{recipe.file}`, lines {lines}{without}"
    )


def _source_lines(brief: Brief) -> Iterator[str]:
    yield "## Sources"
    yield ""
    for citation in brief.citations:
        quote = f"{_under(citation)}“{_plain(citation.quote)}”"
        yield f"[{citation.number}] `{citation.place}`: {quote}"
        yield ""


def _under(citation: Citation) -> str:
    return f"under *{_plain(citation.heading)}*: " if citation.heading else ""


def _rejected_lines(brief: Brief) -> Iterator[str]:
    if not brief.rejected:
        return
    yield "## Rejected"
    yield ""
    for verdict in brief.rejected:
        yield f"- {verdict.of} of `{verdict.place}`: {_plain(verdict.reason)}"
    yield ""


def _skipped_lines(skipped: Sequence[Skipped]) -> Iterator[str]:
    foreign = sum(each.foreign for each in skipped)
    own = [each for each in skipped if not each.foreign]
    if not skipped:
        return
    yield "## Not read"
    yield ""
    for each in own[:MOST_SKIPPED]:
        yield f"- `{each.file}`: {_plain(each.reason)}"
    if len(own) > MOST_SKIPPED:
        yield f"- and {len(own) - MOST_SKIPPED} more"
    if foreign:
        yield f"- {foreign} file{'s' if foreign != 1 else ''} of kinds that are not read"
    yield ""


def _plain(text: str) -> str:
    """Text on one line that cannot open an HTML tag in the rendered brief."""
    return " ".join(text.split()).replace("<", "\\<")
