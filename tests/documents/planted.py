"""A folder of 30 files with 8 planted facts and 4 decoys, the same one every time.

The facts speak of the aircraft Kestrel; the decoys say the same of others in the same words, and
the filler uses the same vocabulary about everything else.
"""

import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path

from fpdf import FPDF

UNANSWERABLE = (
    "Which insurance company covers Kestrel?",
    "What is the melting point of tungsten?",
    "Who leads the Peregrine project?",
    "What does fault E-2077 mean?",
)


@dataclass(frozen=True, slots=True)
class Fact:
    """What is asked, the words that answer it, and where they stand."""

    question: str
    answer: str
    file: str
    line: int | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Planted:
    """The folder, what is true in it, and the files with what only sounds true."""

    folder: Path
    facts: tuple[Fact, ...]
    decoys: tuple[str, ...]


_AIRCRAFT = ("Osprey", "Merlin", "Harrier", "Goshawk", "Buzzard", "Falcon")
_NOUNS = ("payload", "mass", "battery", "warranty", "launch", "supplier", "cost", "range", "mast")
_VERBS = ("was reviewed", "is checked", "was moved", "is described", "was agreed", "is planned")
_PLACES = ("in Bergen", "by the test team", "after the audit", "in the second hall", "on Mondays")


def plant(folder: Path) -> Planted:
    """Write the folder."""
    chance = random.Random(20261121)
    facts = (
        _mass(folder, chance),
        _lead(folder),
        _supplier(folder, chance),
        _launch(folder),
        _warranty(folder, chance),
        _retries(folder),
        _fault(folder, chance),
        _price(folder),
    )
    decoys = _decoys(folder, chance)
    _sales(folder)
    _filler(folder, chance, 30 - len(list(folder.rglob("*.*"))))
    return Planted(folder, facts, decoys)


def _sentence(chance: random.Random) -> str:
    name, noun = chance.choice(_AIRCRAFT), chance.choice(_NOUNS)
    return f"The {noun} of {name} {chance.choice(_VERBS)} {chance.choice(_PLACES)}."


def _paragraph(chance: random.Random, sentences: int = 4) -> str:
    return " ".join(_sentence(chance) for _ in range(sentences))


def _write(folder: Path, name: str, lines: list[str]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _line_of(path: Path, text: str) -> int:
    lines = path.read_text(encoding="utf-8").split("\n")
    return next(number for number, line in enumerate(lines, 1) if text in line)


def write_pdf(path: Path, pages: list[list[str]]) -> Path:
    """A PDF with these paragraphs on its pages."""
    pdf = FPDF()
    pdf.set_font("helvetica", size=11)
    for page in pages:
        pdf.add_page()
        for paragraph in page:
            pdf.multi_cell(0, 6, paragraph, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(4)
    path.parent.mkdir(parents=True, exist_ok=True)
    pdf.output(str(path))
    return path


def _mass(folder: Path, chance: random.Random) -> Fact:
    pages = [[_paragraph(chance) for _ in range(4)] for _ in range(5)]
    pages[2][1] = "With full tanks, the maximum take-off mass of Kestrel is 14.2 kg at sea level."
    write_pdf(folder / "manuals/flight.pdf", pages)
    return Fact(
        "What is the maximum take-off mass of Kestrel?", "14.2 kg", "manuals/flight.pdf", page=3
    )


def _lead(folder: Path) -> Fact:
    path = _write(
        folder,
        "site/people.html",
        [
            "<!doctype html>",
            "<html><head><title>People</title><style>p { color: red }</style></head>",
            "<body><script>var lead = 'Kestrel is led by nobody';</script>",
            "<h1>Who does what</h1>",
            "<p>The office in Bergen has grown.",
            "It has two halls.</p>",
            "<p>The Kestrel project is led by <b>Ines Moreau</b>, who joined",
            "from the university.</p>",
            "<p>Merlin has been led by Piet Vos since spring.</p>",
            "</body></html>",
        ],
    )
    line = _line_of(path, "Ines Moreau")
    return Fact("Who leads the Kestrel project?", "Ines Moreau", "site/people.html", line)


def _supplier(folder: Path, chance: random.Random) -> Fact:
    rows = [
        [f"P-{number}", chance.choice(_NOUNS), f"Maker {number}", f"{chance.randint(2, 90)}.50"]
        for number in range(190, 230)
    ]
    rows[14] = ["P-204", "rotor bearing,\nsealed", "Halden Bearings", "31.20"]
    path = folder / "data/parts.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["part", "name", "supplier", "unit price"], *rows])
    return Fact(
        "Which supplier delivers part P-204?",
        "Halden Bearings",
        "data/parts.csv",
        _line_of(path, "P-204"),
    )


def _launch(folder: Path) -> Fact:
    programme = {
        "programmes": [
            {"name": name, "site": "Bergen", "milestones": {"launch": date, "review": "2026-02-02"}}
            for name, date in (
                ("Osprey", "2026-09-30"),
                ("Kestrel", "2027-03-14"),
                ("Merlin", "2027-11-01"),
            )
        ]
    }
    path = folder / "data/programme.json"
    path.write_text(json.dumps(programme, indent=2), encoding="utf-8")
    return Fact(
        "When is the launch of Kestrel?",
        "2027-03-14",
        "data/programme.json",
        _line_of(path, "2027-03-14"),
    )


def _warranty(folder: Path, chance: random.Random) -> Fact:
    lines = ["# Terms of sale", "", _paragraph(chance), "", "## Kestrel", "", _paragraph(chance, 2)]
    lines += ["", "The warranty lasts 36 months from delivery", "and covers the rotor.", ""]
    lines += ["## Osprey", "", "The warranty lasts 24 months from delivery.", ""]
    path = _write(folder, "sales/terms.md", lines)
    return Fact(
        "How long is the warranty of Kestrel?",
        "36 months",
        "sales/terms.md",
        _line_of(path, "36 months"),
    )


def _retries(folder: Path) -> Fact:
    path = _write(
        folder,
        "src/link.py",
        [
            '"""The radio link."""',
            "",
            "PORT = 9100",
            "",
            "",
            "class TelemetryLink:",
            '    """Sends telemetry to the ground station.',
            "",
            "    The telemetry link gives up after 7 retries and then lands the aircraft.",
            '    """',
            "",
            "    def send(self, frame: bytes) -> None:",
            "        self.radio.write(frame)",
        ],
    )
    return Fact(
        "After how many retries does the telemetry link give up?",
        "7 retries",
        "src/link.py",
        _line_of(path, "7 retries"),
    )


def _fault(folder: Path, chance: random.Random) -> Fact:
    lines = [_paragraph(chance), "", "FAULTS", ""]
    lines += ["E-1041 means that the battery is cold.", "", _paragraph(chance), ""]
    lines += ["E-1042 means that the compass disagrees with", "the satellite heading.", ""]
    path = _write(folder, "notes/faults.txt", lines)
    return Fact(
        "What does fault E-1042 mean?",
        "compass disagrees",
        "notes/faults.txt",
        _line_of(path, "E-1042"),
    )


def _price(folder: Path) -> Fact:
    rows = (("Osprey", "39,500", "6 weeks"), ("Kestrel", "48,900", "9 weeks"))
    cells = [f"<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in rows]
    path = _write(
        folder,
        "site/prices.html",
        [
            "<html><head><title>Price list</title></head><body><h1>Price list</h1>",
            "<table>",
            "<tr><th>aircraft</th><th>price in euro</th><th>delivery</th></tr>",
            *cells,
            "</table></body></html>",
        ],
    )
    return Fact("What does Kestrel cost?", "48,900", "site/prices.html", _line_of(path, "48,900"))


def _decoys(folder: Path, chance: random.Random) -> tuple[str, ...]:
    pages = [[_paragraph(chance)], ["The maximum take-off mass of Osprey is 19.8 kg at sea level."]]
    write_pdf(folder / "manuals/osprey.pdf", pages)
    _write(folder, "notes/merlin.txt", ["The Merlin project is led by Piet Vos.", ""])
    _write(
        folder,
        "sales/harrier.md",
        ["# Harrier", "", "The warranty of Harrier lasts 12 months. Harrier costs 61,000 euro."],
    )
    _write(
        folder,
        "src/video.py",
        ['"""The video link gives up after 3 retries; telemetry goes on."""', "", "RETRIES = 3"],
    )
    return ("manuals/osprey.pdf", "notes/merlin.txt", "sales/harrier.md", "src/video.py")


def _sales(folder: Path) -> None:
    rows = [
        ["month", "region", "units", "revenue"],
        ["2026-01", "North", "3", "€146,700.00"],
        ["2026-01", "South", "1", "€48,900.00"],
        ["2026-02", "North", "2", "€97,800.00"],
        ["2026-02", "South", "4", "€195,600.00"],
        ["2026-03", "North", "5", "€244,500.00"],
        ["2026-03", "South", "2", ""],
    ]
    with (folder / "data/sales.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _filler(folder: Path, chance: random.Random, count: int) -> None:
    for number in range(count):
        paragraphs = [_paragraph(chance, 5) for _ in range(6)]
        spaced = [line for paragraph in paragraphs for line in (paragraph, "")]
        match number % 6:
            case 0:
                _write(folder, f"filler/note{number}.txt", spaced)
            case 1:
                _write(folder, f"filler/page{number}.md", [f"# Page {number}", "", *spaced])
            case 2:
                body = "".join(f"<p>{p}</p>\n" for p in paragraphs)
                _write(folder, f"filler/page{number}.html", [f"<html><body>{body}</body></html>"])
            case 3:
                write_pdf(folder / f"filler/scan{number}.pdf", [paragraphs[:3], paragraphs[3:]])
            case 4:
                _write(folder, f"filler/rows{number}.json", [json.dumps({"notes": paragraphs})])
            case _:
                code = [f"# {p}\nVALUE_{i} = {i}\n" for i, p in enumerate(paragraphs)]
                _write(folder, f"filler/code{number}.py", code)
