"""The headings above the place a reader has come to."""

from dataclasses import dataclass, field

LONGEST = 160


@dataclass(slots=True)
class Outline:
    """A stack of headings, and the sentence ending in a colon that introduces a list."""

    stack: list[tuple[int, str]] = field(default_factory=list)
    lead: str = ""
    first: tuple[int, str] | None = None
    alone: bool = True

    def enter(self, level: int, heading: str) -> None:
        """Begin a section; deeper and equal ones end."""
        if self.first is None:
            self.first = (level, heading.strip())
        elif level <= self.first[0]:
            self.alone = False
        self.stack = [entry for entry in self.stack if entry[0] < level]
        if heading.strip():
            self.stack.append((level, heading.strip()[:LONGEST]))
        self.lead = ""

    def introduce(self, paragraph: str) -> None:
        """Remember a paragraph that ends in a colon; any other paragraph ends its effect."""
        plain = paragraph.strip()
        self.lead = plain[-LONGEST:] if plain.endswith(":") else ""

    @property
    def title(self) -> str:
        """The first heading, if all others are below it: then it speaks of the whole document."""
        return self.first[1] if self.first and self.alone else ""

    @property
    def path(self) -> str:
        return " › ".join(text for _, text in self.stack)

    @property
    def path_with_lead(self) -> str:
        return " › ".join(part for part in (self.path, self.lead) if part)
