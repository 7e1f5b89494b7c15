"""The tables of a page as CSV, Markdown and LaTeX, parsed from the page itself to guarantee agreement."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from skinmnist.reporting.format import MINUS, NOTHING
from skinmnist.text import guarded_cell

#: Maximum length of a file name, and number of rows from which a LaTeX table spans pages.
_LONGEST, _LONG = 60, 40
_NUMBER = re.compile(r"[+-]?\d{1,3}(,\d{3})*(\.\d+)?|[+-]?\d+(\.\d+)?")
#: Instructions that apply only to an interactive page.
_POINTING = re.compile(r" ?\b(Hover over or tap|Point) [^.]*\.")
_INTERVAL = re.compile(rf"([+{MINUS}]?[\d.,]+)(?:–| to )([+{MINUS}]?[\d.,]+)")
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    MINUS: "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "²": "$^2$",
    "→": r"$\to$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "’": "'",
    "‘": "`",
    "…": r"\ldots{}",
    "é": r"\'e",
    "š": r"\v{s}",
}


@dataclass
class Cell:
    """A cell: its main text, and smaller text below it, such as an interval."""

    parts: list[str] = field(default_factory=lambda: [""])
    heading: bool = False
    columns: int = 1
    rows: int = 1
    #: Names of the column's secondary text, if the heading specifies them.
    names: str = ""

    @property
    def main(self) -> str:
        """The text of the cell without the smaller ones."""
        return self.parts[0]


@dataclass
class PageTable:
    """A table on a page: its name (also used for its files), caption, headings and rows."""

    name: str
    caption: str = ""
    head: list[list[Cell]] = field(default_factory=list)
    body: list[list[Cell]] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """The column headings; two-row headings are combined."""
        return [": ".join(dict.fromkeys(cell.main for cell in cells)) for cells in self._columns]

    @property
    def _columns(self) -> list[list[Cell]]:
        """The heading cells above each column, from top to bottom."""
        grid: dict[tuple[int, int], Cell] = {}
        for y, cells in enumerate(self.head):
            x = 0
            for cell in cells:
                while (y, x) in grid:
                    x += 1
                for below in range(cell.rows):
                    grid.update({(y + below, x + right): cell for right in range(cell.columns)})
                x += cell.columns
        width = 1 + max((x for _, x in grid), default=-1)
        return [[grid[y, x] for y in range(len(self.head)) if (y, x) in grid] for x in range(width)]

    def to_csv(self) -> str:
        """Convert the table to CSV: secondary text in columns of its own, numbers without separators."""
        columns: list[list[str]] = []
        for place, (label, heads) in enumerate(zip(self.labels, self._columns, strict=True)):
            found = [row[place] if place < len(row) else Cell() for row in self.body]
            columns += _csv_columns(label, heads[-1].names, found)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([guarded_cell(text) for text in row] for row in zip(*columns, strict=True))
        return out.getvalue()

    def to_markdown(self) -> str:
        """Convert the table to Markdown, with secondary text in brackets."""
        lines = [[_escaped(text) for text in row] for row in (self.labels, *self._texts())]
        rule = ["---:" if numeric else "---" for numeric in self._numeric()]
        rows = [lines[0], rule, *lines[1:]]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows) + f"\n{self.caption}\n"

    def to_latex(self) -> str:
        """Convert the table to LaTeX with booktabs: a float, or a longtable if it has many rows."""
        head = " & ".join(map(latex, self.labels)) + r" \\"
        caption = f"\\caption{{{latex(self.caption)}}}\\label{{tab:{self.name}}}"
        if len(self.body) > _LONG:
            texts = self._texts()
            rows = "".join(" & ".join(map(latex, row)) + " \\\\\n" for row in texts)
            return (
                "% Needs \\usepackage{array,booktabs,longtable}\n"
                "{\\scriptsize\\setlength\\tabcolsep{3pt}\n"
                f"\\begin{{longtable}}{{{self._narrowed(texts)}}}\n{caption}\\\\\n"
                f"\\toprule\n{head}\n\\midrule\n\\endhead\n{rows}\\bottomrule\n\\end{{longtable}}}}\n"
            )
        sides = ["r" if numeric else "l" for numeric in self._numeric()]
        cells = [[*row, *[Cell()] * (len(sides) - len(row))] for row in self.body]
        rows = "".join(" & ".join(map(_stacked, row, sides)) + " \\\\\n" for row in cells)
        return (
            "% Needs \\usepackage{booktabs,graphicx}\n"
            f"\\begin{{table}}\n\\centering\n{caption}\n"
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
            f"\\begin{{tabular}}{{{''.join(sides)}}}\n\\toprule\n{head}\n\\midrule\n{rows}\\bottomrule\n"
            "\\end{tabular}}\n\\end{table}\n"
        )

    def _narrowed(self, texts: list[list[str]]) -> str:
        """Return the column specification of a longtable, in which long texts wrap."""
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        return "".join(
            "r"
            if numeric
            else f">{{\\raggedright\\arraybackslash}}p{{{min(0.16, max(0.06, width / 190)):.2f}\\linewidth}}"
            for width, numeric in zip(widths, self._numeric(), strict=True)
        )

    def _texts(self) -> list[list[str]]:
        width = len(self._columns)
        return [[_joined(cell) for cell in row] + [""] * (width - len(row)) for row in self.body]

    def _numeric(self) -> list[bool]:
        """Return whether each column is numeric."""
        columns = [
            [_plain(row[place].main) for row in self.body if place < len(row)]
            for place in range(len(self._columns))
        ]
        return [any(column) and all(not text or _NUMBER.match(text) for text in column) for column in columns]


def _csv_columns(label: str, names: str, cells: list[Cell]) -> list[list[str]]:
    """Return the CSV columns of one page column, each starting with its heading."""
    depth = max((len(cell.parts) for cell in cells), default=1)
    texts = list(zip(*[(*cell.parts, *[""] * depth)[:depth] for cell in cells], strict=True))
    if depth > 1 and " and " in label and all(cell.heading for cell in cells):
        labels = [word.capitalize() for word in label.split(" and ")]
        labels += ["Remark" if depth == 3 else f"Remark {number}" for number in range(1, depth)]
        return [[own, *map(_plain, column)] for own, column in zip(labels, texts, strict=False)]
    known = names.split("|") if names else []
    found = []
    for number, column in enumerate(texts or [()]):
        own = known[number - 1] if 0 < number <= len(known) else f"detail {number}" if depth > 2 else "detail"
        found += _split(label, f"{label}, {own}" if number else label, column)
    return found


def _split(label: str, own: str, column: Sequence[str]) -> list[list[str]]:
    """Return the texts of a column as one column, or the endpoints of intervals as two."""
    given = [text for text in column if text not in ("", NOTHING)]
    if given and all(text.startswith("± ") for text in given):
        return [[f"{label}, sd", *(_plain(text.removeprefix("± ")) for text in column)]]
    pairs = [_INTERVAL.fullmatch(text) for text in column]
    if given and sum(map(bool, pairs)) == len(given):
        return [
            [f"{label}, {end}", *(_plain(pair[side]) if pair else "" for pair in pairs)]
            for side, end in ((1, "low"), (2, "high"))
        ]
    return [[own, *map(_plain, column)]]


def _joined(cell: Cell) -> str:
    """Return a cell as one text: ``SMOTE on pixels, Random forest``, or ``0.612 (0.590–0.634)``."""
    rest = [part for part in cell.parts[1:] if part]
    if cell.heading or not rest:
        return ", ".join(filter(None, cell.parts))
    if len(rest) == 1 and rest[0].startswith("±"):
        return f"{cell.main} {rest[0]}"
    return f"{cell.main} ({'; '.join(rest)})"


def _stacked(cell: Cell, side: str) -> str:
    """Return a cell for LaTeX, with its secondary text below the main text."""
    first, *rest = [part for part in cell.parts if part] or [""]
    below = "".join(rf"\\{{\scriptsize {latex(part)}}}" for part in rest)
    top = rf"\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}"
    return rf"{top}{latex(first)}{below}\end{{tabular}}" if rest else latex(first)


def _plain(text: str) -> str:
    """Return a number without typographic formatting, a dash as an empty string, other text unchanged."""
    number = text.replace(MINUS, "-").removeprefix("▲ ").removeprefix("▼ ").removeprefix("+")
    if _NUMBER.fullmatch(number):
        return number.replace(",", "")
    return "" if text == NOTHING else text


def _escaped(text: str) -> str:
    return re.sub(r"([\\|`*_<\[\]])", r"\\\1", text)


def latex(text: str) -> str:
    """Escape a text for pdflatex; unsupported letters are written as code points."""
    return "".join(_latex_sign(sign) for sign in text)


def _latex_sign(sign: str) -> str:
    if sign in _LATEX or sign.isascii():
        return _LATEX.get(sign, sign)
    if unicodedata.category(sign) == "Zs":
        return "~"
    base = unicodedata.normalize("NFKD", sign)
    return base[0] if base[0].isascii() and base[0].isalnum() else f"[U+{ord(sign):04X}]"


class _Reader(HTMLParser):
    """Parser that collects the tables of a page and ignores purely visual markup."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[PageTable] = []
        #: The alternative text and section of each image.
        self.images: list[tuple[str, str]] = []
        self._anchors: list[str] = []
        self._label = ""
        self._table: PageTable | None = None
        self._rows: list[list[Cell]] | None = None
        self._cell: Cell | None = None
        self._caption = False
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if self._hidden:
            self._hidden += 1
        elif tag == "span" and given.get("class") == "hidden":
            self._hidden = 1
        elif tag == "section":
            self._anchors.append(given.get("id") or (self._anchors[-1] if self._anchors else ""))
            self._label = given.get("aria-label", "")
        elif tag == "table":
            self._table = PageTable(self._name())
        elif tag in ("img", "svg"):
            words = given.get("alt") or given.get("aria-label", "")
            self.images += [(words, self._anchors[-1] if self._anchors else "")] * bool(words)
        elif self._table is not None:
            self._in_table(self._table, tag, given)

    def _in_table(self, table: PageTable, tag: str, given: dict[str, str]) -> None:
        if tag == "caption":
            self._caption = True
        elif tag in ("thead", "tbody"):
            self._rows = table.head if tag == "thead" else table.body
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("th", "td") and self._rows:
            spans = int(given.get("colspan", "1")), int(given.get("rowspan", "1"))
            self._cell = Cell([""], tag == "th", *spans, given.get("data-parts", ""))
            self._rows[-1].append(self._cell)
        elif self._cell is not None and (
            tag in ("small", "br") or (self._cell.heading and tag in ("span", "em"))
        ):
            self._cell.parts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden -= 1
        elif tag == "section" and self._anchors:
            self._anchors.pop()
        elif tag == "caption":
            self._caption = False
        elif tag in ("td", "th") and self._cell is not None:
            found = [" ".join(part.replace("\u2011", "-").split()) for part in self._cell.parts]
            self._cell.parts = [found[0], *filter(None, found[1:])]
            self._cell = None
        elif tag == "table" and self._table is not None:
            caption = " ".join(self._table.caption.split())
            self._table.caption = _POINTING.sub("", caption)
            self.tables.append(self._table)
            self._table = None

    def handle_data(self, data: str) -> None:
        if self._hidden or self._table is None:
            return
        if self._cell is not None:
            self._cell.parts[-1] += data
        elif self._caption:
            self._table.caption += data

    def _name(self) -> str:
        label = self._label.removeprefix("Table: ") or (self._anchors[-1] if self._anchors else "") or "table"
        taken = {table.name for table in self.tables}
        return next(name for name in file_names(label) if name not in taken)


def file_names(label: str) -> Iterator[str]:
    """Yield file names for a label, the simplest first."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST].rstrip("-") or "table"
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def read_page(page: str) -> tuple[list[PageTable], list[tuple[str, str]]]:
    """Return the tables of a page in order, and the alternative text and section of each image.

    Examples
    --------
    >>> [table], _ = read_page("<table><caption>Sizes</caption><thead><tr><th>a</th></tr></thead>"
    ...                        "<tbody><tr><td>1,234 <small>± 5</small></td></tr></tbody></table>")
    >>> print(table.to_markdown().splitlines()[2])
    | 1,234 ± 5 |
    >>> table.to_csv().splitlines()
    ['a,"a, sd"', '1234,5']
    """
    reader = _Reader()
    reader.feed(page)
    return reader.tables, reader.images
