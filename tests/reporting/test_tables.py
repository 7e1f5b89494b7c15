"""Tables of a page in other formats."""

from __future__ import annotations

import csv
import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from skinmnist.reporting.tables import file_names, latex, read_page

PAGE = """
<section id="one"><section class="scroll" aria-label="Table: two heads">
<table><caption><span>All &amp; sundry</span></caption>
<thead><tr><th rowspan="2">Sampler and model</th><th colspan="2">As trained</th></tr>
<tr><th data-parts="verdict|interval">Macro‑F1</th><th>p</th></tr></thead>
<tbody><tr><th>SMOTE <span>Forest</span></th><td data-value="0.1">▲ +0.1 <small>better</small>
<small>−0.2 to +1,000.5</small></td><td>&lt; 0.001</td></tr>
<tr><th>none <span>Forest</span> <em>2 of 3</em></th><td>0.5<span class="hidden"> (best)</span>
<small>worse</small></td><td>–</td></tr>
</tbody></table></section></section><section id="one"><img alt="Words" src="data:,">
<table><thead><tr><th>a</th></tr></thead>
<tbody></tbody></table></section>
"""


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_headings_parts_and_numbers() -> None:
    (table, empty), images = read_page(PAGE)
    f1 = "As trained: Macro-F1"
    assert (table.name, table.caption, empty.name) == ("two-heads", "All & sundry", "one")
    assert images == [("Words", "one")]
    assert rows_of(table.to_csv()) == [
        ["Sampler", "Model", "Remark", f1, f"{f1}, verdict", f"{f1}, low", f"{f1}, high", "As trained: p"],
        ["SMOTE", "Forest", "", "0.1", "better", "-0.2", "1000.5", "< 0.001"],
        ["none", "Forest", "2 of 3", "0.5", "worse", "", "", ""],
    ]
    lines = table.to_markdown().splitlines()
    assert lines[2] == r"| SMOTE, Forest | ▲ +0.1 (better; −0.2 to +1,000.5) | \< 0.001 |"
    assert rows_of(empty.to_csv()) == [["a"]]


def test_latex_has_booktabs_and_escapes() -> None:
    (table, _), _ = read_page(PAGE)
    text = table.to_latex()
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"All \& sundry" in text
    assert "$-$0.2 to +1,000.5" in text
    assert text.isascii()


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_is_escaped_for_latex(text: str) -> None:
    written = latex(text)
    assert written.isascii()
    bare = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\\ldots\{\}|\\v\{s\}|\\'e|\$[^$]+\$", "", written)
    assert not set("&%$#_^\\") & set(bare)


@given(st.lists(st.lists(st.sampled_from("abc.-=,\" '<&|") | st.text(max_size=5), min_size=2, max_size=2)))
@settings(max_examples=60, deadline=None)
def test_what_stands_on_the_page_stands_in_the_csv(rows: list[list[str]]) -> None:
    """Text by text, up to white space; formulas are disarmed."""
    body = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows)
    head = "<tr><th>a</th><th>b</th></tr>"
    [table], _ = read_page(f"<table><thead>{head}</thead><tbody>{body}</tbody></table>")
    shown = [[" ".join(cell.main.split()) for cell in row] for row in table.body]
    assert len(shown) == len(rows)
    found = rows_of(table.to_csv())[1:]
    assert all(not cell.lstrip().startswith(("=", "@")) for row in found for cell in row)


def test_names_of_files_are_plain_and_differ() -> None:
    names = file_names("Größe: α / β " * 20)
    first, second = next(names), next(names)
    assert re.fullmatch(r"[a-z0-9-]{1,60}", first)
    assert second == f"{first}-2"
    assert next(file_names("☃")) == "table"
