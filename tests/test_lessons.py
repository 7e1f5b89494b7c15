"""All lessons on the synthetic table, once; then what they claim and how it is written down."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from skinmnist import facts
from skinmnist.lessons import main
from skinmnist.teaching.gallery import FINDINGS_FILE, TABLE_FILE
from skinmnist.teaching.lesson import FOLDER, find_lessons

ROOT = Path(__file__).parent.parent
LESSONS = find_lessons()
SLUGS = [lesson.slug for lesson in LESSONS]
PAGES = ["index", "teacher", "exam", "handout", "slides", "answer_key", *SLUGS]


def run_all(out: Path, data: str, *more: str) -> list[dict]:
    """Run the command on a table; return what it found."""
    before = os.environ.get("SKINMNIST_DATA")
    os.environ["SKINMNIST_DATA"] = data
    try:
        code = main(["--jobs", "2", "--out", str(out), *more])
    finally:
        os.environ.pop("SKINMNIST_DATA")
        if before is not None:
            os.environ["SKINMNIST_DATA"] = before
    found = json.loads((out / FINDINGS_FILE).read_text())
    assert code == 0, [lesson["failure"] for lesson in found if lesson["failure"]]
    return found


@pytest.fixture(scope="session")
def gallery(tmp_path_factory) -> Path:
    out, here = tmp_path_factory.mktemp("gallery"), Path.cwd()
    os.chdir(tmp_path_factory.mktemp("no-data-here"))
    try:
        run_all(out, "")
    finally:
        os.chdir(here)
    return out


@pytest.fixture(scope="session")
def found(gallery) -> list[dict]:
    return json.loads((gallery / FINDINGS_FILE).read_text())


@pytest.mark.parametrize("place", range(len(SLUGS)), ids=SLUGS)
def test_every_claim_holds_on_the_synthetic_table(found, place):
    lesson = found[place]
    assert lesson["lesson"] == SLUGS[place]
    assert "synthetic" in lesson["table"] or lesson["lesson"] == "10_turn_the_dials"
    assert lesson["claims"], "a lesson that claims nothing"
    assert all(claim["holds"] for claim in lesson["claims"])
    assert lesson["finding"]


@pytest.mark.slow
@pytest.mark.parametrize("name", facts.TABLE_FILES)
def test_every_claim_holds_on_the_real_table(found, real_tables, tmp_path, name):
    if not (real_tables / name).is_file():
        pytest.skip(f"{name} is not here")
    real = run_all(tmp_path, str(real_tables / name))
    for drawn, photographed in zip(found, real, strict=True):
        assert [c["sentence"] for c in drawn["claims"]] == [c["sentence"] for c in photographed["claims"]]
        assert all(claim["holds"] for claim in photographed["claims"])
        signs = [
            [claim["value"] > 0 for claim in one["claims"] if claim["relation"] == "at least"]
            for one in (drawn, photographed)
        ]
        assert signs[0] == signs[1]


@pytest.mark.parametrize("lesson", LESSONS, ids=SLUGS)
def test_a_lesson_asks_before_it_tells(lesson):
    text = [cell.source for cell in lesson.cells if cell.kind == "markdown"]
    headings = re.findall(r"^## (.+)$", "\n".join(text), re.MULTILINE)
    assert headings[0] == "Predict"
    assert headings[-2:] == ["Exercises", "References"]
    assert sum(cell.kind == "solution" for cell in lesson.cells) == 2
    assert lesson.question.count("?") >= 1
    prediction = next(source for source in text if "## Predict" in source)
    assert "\n> " in prediction


@pytest.mark.parametrize("lesson", LESSONS, ids=SLUGS)
def test_no_result_is_frozen_in_the_text(lesson):
    prose = [
        cell.source for cell in lesson.cells if cell.kind == "markdown" and "## References" not in cell.source
    ]
    # Inline code and formulas are no results.
    assert not re.findall(r"\d\.\d", re.sub(r"```.*?```|`[^`]*`", "", "\n".join(prose), flags=re.DOTALL))


class Page(HTMLParser):
    """Collects what a page asks for, and checks that its elements nest."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.images, self.links, self.tags, self.ids = [], [], [], set(), []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attrs)
        self.links += [attrs[name] for name in ("href", "src") if name in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", PAGES)
def test_a_page_stands_alone(gallery, name):
    text = (gallery / f"{name}.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"<script[^>]|<script>[^<]*(fetch|import|://)", text)
    assert not re.findall(r"url\((?!data:)|@import", text)
    for link in page.links:
        if not link.startswith(("data:", "#")):
            assert (gallery / link).is_file(), link
    for image in page.images:
        assert len(image["alt"]) > 40
        assert image["src"].startswith("data:")


@pytest.mark.parametrize("lesson", LESSONS, ids=SLUGS)
def test_a_lesson_has_figures_and_a_notebook(gallery, lesson):
    assert Page((gallery / f"{lesson.slug}.html").read_text(encoding="utf-8")).images
    assert (gallery / "notebooks" / f"{lesson.slug}.ipynb").is_file()
    assert (gallery / "scripts" / lesson.path.name).read_bytes() == lesson.path.read_bytes()


def test_the_index_shows_every_lesson_with_its_picture(gallery):
    text = (gallery / "index.html").read_text(encoding="utf-8")
    assert len(Page(text).images) == len(LESSONS)
    for lesson in LESSONS:
        assert f"{lesson.number}. {lesson.title}" in text


def test_the_documentation_has_the_lines_of_the_table(gallery):
    page = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    for line in (gallery / TABLE_FILE).read_text(encoding="utf-8").splitlines()[2:]:
        # What stands before the finding: its digits depend on the machine.
        assert line.rsplit(" | ", 1)[0] in page.replace("(../experiments/", "(experiments/")


def test_lessons_are_where_the_command_looks():
    assert FOLDER == ROOT / "experiments" / "lessons"


def test_lessons_are_listed_without_running_them(capsys):
    assert main(["--list", "7", "2"]) == 0
    wanted = [
        f"{LESSONS[place].number:2}. {LESSONS[place].title}: {LESSONS[place].question}" for place in (6, 1)
    ]
    assert capsys.readouterr().out.splitlines() == wanted


@pytest.mark.parametrize("inner", ["", "gallery"])
def test_a_gallery_in_place_of_a_file_is_refused_before_a_lesson_runs(inner, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("skinmnist.teaching.lesson.run_lessons", lambda *_: pytest.fail("a lesson ran"))
    (tmp_path / "table.csv").touch()
    assert main(["1", "--out", str(tmp_path / "table.csv" / inner)]) == 2
    assert "table.csv is a file; expected a folder, so name another one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["12"], "received lesson 12; expected 1 to 11"),
        (["--jobs", "0"], "received 0 jobs"),
        (["--seed", "-1"], "received seed -1;"),
    ],
)
def test_bad_input_is_one_sentence(arguments, complaint, capsys):
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err
