"""A small picture of lines over time, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 760, 260, 48


@dataclass(frozen=True, slots=True)
class Line:
    """Values in steps, one per moment."""

    name: str
    color: str
    values: Sequence[float]


def picture(
    at: Sequence[float], *, left: Sequence[Line], right: Sequence[Line], units: tuple[str, str]
) -> str:
    """Lines over the seconds `at`; those on the left have the one scale, those on the right the
    other."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        "<style>text {font: 11px sans-serif}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for lines, unit, edge in ((right, units[1], WIDTH - MARGIN), (left, units[0], MARGIN)):
        most = max(max(line.values) for line in lines) or 1
        parts += [_path(at, line, most) for line in lines]
        parts += _scale(most, unit, edge)
    parts += _seconds(at)
    names = [*left, *right]
    parts += [
        f'<text x="{MARGIN + 160 * n}" y="14" fill="{line.color}">{line.name}</text>'
        for n, line in enumerate(names)
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _path(at: Sequence[float], line: Line, most: float) -> str:
    points, before = list[str](), 0.0
    for when, value in zip(at, line.values, strict=True):
        x, y = _x(when, at[-1]), _y(value, most)
        points += [f"{x:.1f},{before:.1f}"] if points else []
        points.append(f"{x:.1f},{y:.1f}")
        before = y
    return (
        f'<polyline fill="none" stroke="{line.color}" stroke-width="1.5" '
        f'points="{" ".join(points)}"/>'
    )


def _scale(most: float, unit: str, edge: int) -> list[str]:
    right = edge > WIDTH / 2
    anchor, x = ("start", edge + 4) if right else ("end", edge - 4)
    marks = [
        f'<text x="{x}" y="{_y(value, most) + 4:.1f}" text-anchor="{anchor}">{value:.0f}</text>'
        for value in (0, most / 2, most)
    ]
    line = f'<line x1="{edge}" y1="24" x2="{edge}" y2="{HEIGHT - MARGIN}" stroke="black"/>'
    return [line, *marks, f'<text x="{x}" y="{HEIGHT - 14}" text-anchor="{anchor}">{unit}</text>']


def _seconds(at: Sequence[float]) -> list[str]:
    base = HEIGHT - MARGIN
    line = f'<line x1="{MARGIN}" y1="{base}" x2="{WIDTH - MARGIN}" y2="{base}" stroke="black"/>'
    marks = [
        f'<text x="{_x(second, at[-1]):.1f}" y="{base + 14}" text-anchor="middle">{second} s</text>'
        for second in range(0, int(at[-1]) + 1, 20)
    ]
    return [line, *marks]


def _x(when: float, last: float) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * when / max(last, 1.0)


def _y(value: float, most: float) -> float:
    return HEIGHT - MARGIN - (HEIGHT - MARGIN - 24) * value / most
