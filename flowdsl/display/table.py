"""Tables, in a terminal and in a notebook. Long texts are shortened; a table that is too wide is shown in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from flowdsl.display import terminal

LONGEST = 30
"""Characters of a cell in a terminal."""
LONGEST_HTML = 48
"""Of a cell in a notebook; the whole text is shown where the mouse rests."""
GAP = "  "
INDENT = "  "

Kind = Literal["value", "label", "number", "error", "quiet"]

STYLES: dict[Kind, str] = {
    "value": "text-align:left;font-family:monospace",
    "label": "text-align:left;opacity:0.6",
    "number": "text-align:right;font-variant-numeric:tabular-nums",
    "error": "text-align:left;font-family:monospace;color:#d33;font-weight:bold",
    "quiet": "text-align:left;font-family:monospace;opacity:0.4",
}
LINE = "white-space:nowrap;font-size:13px;padding:2px 8px"
ERROR_MARK = "! "
SPECIAL = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
"""What texts may not contain in HTML. (The module ``html`` knows 2,000 more, and takes a millisecond to import.)"""


class Cell(Struct, frozen=True):
    """One text, and what it is."""

    text: str
    kind: Kind = "value"

    @property
    def line(self) -> str:
        """The text in one line, as a terminal shows it."""
        return f"{ERROR_MARK if self.kind == 'error' else ''}{' '.join(self.text.split())}"


class Table(Struct, frozen=True):
    """``title`` stands above, ``notes`` below. The first column tells what a row is."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def text(self, width: int | None = None) -> str:
        """For a terminal of that width; None: the one there is."""
        room = terminal.width() if width is None else width
        parts = ["\n".join(self._part(columns)) for columns in self._parts(room)] if self.rows else []
        notes = [f"{INDENT}{note}" for note in self.notes]
        return "\n".join(
            ["\n\n".join([self.title, *parts]) if len(parts) > 1 else "\n".join([self.title, *parts]), *notes]
        )

    def html(self) -> str:
        """For a notebook. Everything is escaped."""
        head = "".join(
            f'<th style="{LINE};text-align:{"right" if self._is_numeric(at) else "left"}">{escaped(name)}</th>'
            for at, name in enumerate(self.columns)
        )
        body = "".join(f"<tr>{''.join(map(_html_of, row))}</tr>" for row in self.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if self.rows else ""
        notes = "".join(f'<div style="opacity:0.6">{escaped(note)}</div>' for note in self.notes)
        return f'<div style="overflow-x:auto"><div>{escaped(self.title)}</div>{table}{notes}</div>'

    def _widths(self) -> list[int]:
        return [
            max(len(shortened(text, LONGEST)) for text in (name, *(row[at].line for row in self.rows)))
            for at, name in enumerate(self.columns)
        ]

    def _parts(self, room: int) -> Iterator[Sequence[int]]:
        """The columns that fit side by side, the first one always among them."""
        widths = self._widths()
        part, used = [0], len(INDENT) + widths[0]
        for at in range(1, len(self.columns)):
            if used + len(GAP) + widths[at] > room and len(part) > 1:
                yield part
                part, used = [0], len(INDENT) + widths[0]
            part.append(at)
            used += len(GAP) + widths[at]
        yield part

    def _part(self, columns: Sequence[int]) -> Iterator[str]:
        widths = self._widths()
        yield _row([_aligned(self.columns[at], widths[at], right=self._is_numeric(at)) for at in columns])
        for row in self.rows:
            yield _row([_aligned(row[at].line, widths[at], right=row[at].kind == "number") for at in columns])

    def _is_numeric(self, at: int) -> bool:
        return bool(self.rows) and all(row[at].kind == "number" for row in self.rows)


def shortened(text: str, most: int) -> str:
    """The text, or its beginning with dots behind it."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def escaped(text: str) -> str:
    """The text as HTML."""
    return text.translate(SPECIAL)


def _aligned(text: str, width: int, *, right: bool) -> str:
    short = shortened(text, LONGEST)
    return f"{short:>{width}}" if right else f"{short:<{width}}"


def _row(texts: Sequence[str]) -> str:
    return f"{INDENT}{GAP.join(texts)}".rstrip()


def _html_of(cell: Cell) -> str:
    short = shortened(cell.text, LONGEST_HTML)
    whole = f' title="{escaped(cell.text)}"' if short != cell.text else ""
    return f'<td style="{LINE};{STYLES[cell.kind]}"{whole}>{escaped(short)}</td>'
