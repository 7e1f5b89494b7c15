"""The documentation: links resolve, names and codes have their places, tables and formats are as it says."""

import importlib.util
import json
import re
import shlex
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import skinmnist
from skinmnist.analysis.checks import CHECKS
from skinmnist.experiment.run_folder.folder import RUN

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "data/*.md", "experiments/**/*.md", ".github/*.md")
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts and "generated" not in path.parts
)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def without_code(text):
    return re.sub(r"^( *)(`{3,}).*?^\1\2", "", text, flags=re.M | re.S)


@cache
def anchors(path):
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(page):
    for target, anchor in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{target} is not there"
        assert not anchor or file.suffix != ".md" or anchor in anchors(file), f"{target} has no #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_marks_of_a_merge_are_left(page):
    assert not re.search(r"^(<<<<<<<|=======|>>>>>>>)( |$)", page.read_text(encoding="utf-8"), re.M)


def test_there_are_links_to_look_at():
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 150


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in DOCS.rglob("*.md"):
        for contents in re.findall(r"```{toctree}\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for line in contents.splitlines():
                entry = re.sub(r".*<(.*)>$", r"\1", line.strip())
                if entry and not entry.startswith(":"):
                    found = [*page.parent.glob(f"{entry}.md"), *page.parent.glob(f"{entry}.ipynb")]
                    assert found, f"{entry} is not there"
                    listed |= {one.resolve() for one in found}
    pages = {page for page in PAGES if page.is_relative_to(DOCS)}
    assert pages - listed == {DOCS / "index.md"}


def test_the_citation_names_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.M) == [skinmnist.__version__]


def test_the_index_of_pitfalls_has_every_check():
    index = (DOCS / "pitfalls" / "index.md").read_text(encoding="utf-8")
    rows = [f"| [{c.code}]({c.code}.md) | {c.severity} | {c.title} |" for c in CHECKS]
    assert re.findall(r"^\| \[SKM.*$", index, re.M) == rows
    assert {page.stem for page in (DOCS / "pitfalls").glob("SKM*.md")} == {check.code for check in CHECKS}


def test_the_reference_has_every_public_name_once():
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^   (\w+)$", page, re.M)) == skinmnist.__all__


# Tables that are printed


@cache
def refresh():
    spec = importlib.util.spec_from_file_location("refresh", DOCS / "refresh.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = """# Page

<!-- printed one: python -c WHAT -->

| old |

<!-- end printed -->

between

<!-- printed two (2): python -c WHAT -->
| old |
<!-- end printed -->
"""
PRINTS = "print('words\\n| a |\\n|---|\\n| [1](experiments/x) |\\n\\n| b |')"


def test_a_printed_table_takes_the_place_of_the_old_one():
    new = refresh().refreshed(PAGE, "one", {"WHAT": PRINTS})
    assert new == PAGE.replace("| old |\n\n", "| a |\n|---|\n| [1](../experiments/x) |\n\n")
    assert refresh().refreshed(PAGE, "two", {"WHAT": PRINTS}) == PAGE.replace("| old |\n<", "| b |\n<")


@pytest.mark.parametrize("name", ["strategies", "samplers"])
def test_the_strategies_of_the_guide_are_those_of_the_registry(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (DOCS / "guide" / "strategies.md").read_text(encoding="utf-8")
    assert refresh().refreshed(page, name, {}) == page, (
        "run python docs/refresh.py docs/guide/strategies.md strategies samplers"
    )


@pytest.mark.parametrize(
    ("name", "values", "complaint"),
    [
        ("one", {}, "add WHAT=VALUE"),
        ("three", {}, "expected one of one, two"),
        ("two", {"WHAT": "print('| a |')"}, "printed 1 tables; expected at least 2"),
        ("one", {"WHAT": "raise SystemExit(3)"}, "exit code 3"),
    ],
)
def test_a_table_that_cannot_be_printed_is_one_sentence(name, values, complaint):
    with pytest.raises(SystemExit, match=re.escape(complaint)):
        refresh().refreshed(PAGE, name, values)


def test_printed_tables_name_scripts_that_are_there():
    found = [
        match["command"]
        for page in PAGES
        for match in refresh().blocks(page.read_text(encoding="utf-8")).values()
    ]
    assert len(found) > 10
    for command in found:
        words = shlex.split(command)
        assert words[0] == "python"
        assert words[1] == "-m" or (ROOT / words[1]).is_file(), command


def test_the_example_of_decisions_runs():
    page = (DOCS / "guide" / "decisions.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"## Example\n\n```python\n(.*?)```", page, re.S)[1], names)
    assert {"board", "coverage", "decided", "sets"} <= names.keys()
    assert names["sets"].any(axis=1).all()
    assert set(names["coverage"]["class"]) > {"nv", "mel"}


# Formats


def test_every_file_of_a_run_folder_is_explained():
    page = (DOCS / "reference" / "file_formats.md").read_text(encoding="utf-8")
    folders = {series.folder.partition("/")[0] for series in RUN.series}
    named = {name.partition("/")[0] + "/" if "/" in name else name for name in RUN.files}
    assert not [name for name in {*named, *(f"{one}/" for one in folders)} if f"`{name}`" not in page]


@cache
def reader():
    """Return the reader of model files that stands in the page on formats."""
    page = (DOCS / "reference" / "file_formats.md").read_text(encoding="utf-8")
    code = re.search(r":name: reader\n\n(.*?)```", page, re.S)[1]
    names = {}
    exec(code, names)
    return names


VECTORS = DOCS / "reference" / "vectors"


@pytest.mark.parametrize("name", ["linear.skm", "forest.skm"])
def test_model_files_answer_as_the_vectors_say(name):
    vectors = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))
    rows, expected = np.array(vectors["rows"], np.uint8), np.array(vectors["answers"][name])
    assert len(np.unique(expected.argmax(axis=1))) > 1
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    by_page = reader()["predict_proba"](*reader()["read"](VECTORS / name), rows)
    np.testing.assert_allclose(by_page, expected, atol=1e-6)
    by_package = skinmnist.load_classifier(VECTORS / name).predict_proba(rows)
    np.testing.assert_allclose(by_package, expected, atol=1e-6)
