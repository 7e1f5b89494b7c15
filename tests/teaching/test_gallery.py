import html
import json
import re
from html.parser import HTMLParser

import pytest

from skinmnist.teaching.exam import QUESTIONS, exam_table
from skinmnist.teaching.gallery import (
    FINDINGS_FILE,
    PREDICT,
    TABLE_FILE,
    Step,
    answer_key,
    make_slides,
    prediction_text,
    read_plan,
    split_at_prediction,
    to_notebook,
    write_gallery,
)
from skinmnist.teaching.lesson import FOLDER, LessonRun, find_lessons, read_lesson, run_lesson

SCRIPT = """# %% [markdown]
# # 1. <Title> & more
#
# Is a < b?
#
# | a | b |
# |---|---|
# | 1 | 2 |

# %%
from skinmnist.teaching.notebook_api import claim, finding, say
claim("a < b", 1.0, at_least=0.5)
finding("*a* < b.")
{more}

# %% tags=["solution"]
say("Because <b>.")
"""
PREDICTED = """# %% [markdown]
# # 1. Title
#
# Why?

# %%
before = 1

# %% [markdown]
# ## Predict
#
# > Which *one*?

# %%
from skinmnist.teaching.notebook_api import finding
finding("That one.")
# < see
"""


@pytest.fixture
def written(tmp_path):
    def write(more=""):
        script = tmp_path / "01_title.py"
        script.write_text(SCRIPT.format(more=more))
        return write_gallery([run_lesson(read_lesson(script))], [], tmp_path / "out" / "deep", "# Plan")

    return write


class Folds(HTMLParser):
    """Collect the text inside and outside the details behind "I have predicted"."""

    def __init__(self):
        super().__init__()
        self.depth, self.inside, self.outside = [], "", ""

    def handle_starttag(self, tag, attributes):
        if tag == "details":
            self.depth.append("predicted" in (dict(attributes).get("class") or "").split())
            assert "open" not in dict(attributes) or not self.depth[-1]

    def handle_endtag(self, tag):
        if tag == "details":
            self.depth.pop()

    def handle_data(self, data):
        if any(self.depth):
            self.inside += data
        else:
            self.outside += data


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Return the folder of a gallery of one lesson that asks for a prediction, with the exam."""
    folder = tmp_path_factory.mktemp("gallery")
    script = folder / "01_title.py"
    script.write_text(PREDICTED)
    return write_gallery([run_lesson(read_lesson(script))], QUESTIONS, folder / "out").parent


@pytest.mark.parametrize("name", ["index.html", "01_title.html"])
def test_the_finding_is_behind_the_prediction(predicted, name):
    folds = Folds()
    folds.feed((predicted / name).read_text())
    assert "That one." in folds.inside
    assert "That one." not in folds.outside
    assert "I have predicted" in folds.inside
    assert ("Which one?" in folds.outside) == (name != "index.html")


def test_pages_link_only_to_files_of_the_gallery(predicted):
    for page in predicted.glob("*.html"):
        text = page.read_text()
        links = set(re.findall(r'(?:href|src)="([^"#][^"]*)"', text)) - {"data:,"}
        links = {link for link in links if not link.startswith("data:image/")}
        missing = {link for link in links if not (predicted / link).is_file()}
        # The plan names lessons that this gallery has not run.
        assert all(page.name == "teacher.html" and re.match(r"\d\d_", link) for link in missing), missing
        assert "http" not in "".join(re.findall(r"<(?:script|link|img)[^>]*>", text))
        assert page.name == "slides.html" or 'href="teacher.html"' in text
    assert 'href="answer_key.html"' in (predicted / "teacher.html").read_text()
    others = [page for page in predicted.glob("*.html") if page.name != "teacher.html"]
    assert not any('href="answer_key.html"' in page.read_text() for page in others)


def test_code_is_highlighted_and_unchanged(predicted):
    code = re.search(
        r'<pre class="source"[^>]*><code>(.*?)</code>', (predicted / "01_title.html").read_text(), re.S
    )
    assert html.unescape(re.sub(r"<[^>]+>", "", code[1])) == "before = 1"
    assert '<span class="mi">1</span>' in code[1]


def test_sheets_slides_and_key(predicted):
    handout, slides, key = (
        (predicted / f"{name}.html").read_text() for name in ("handout", "slides", "answer_key")
    )
    assert "Which <em>one</em>?" in handout
    assert "That one." not in handout
    assert slides.index("Which <em>one</em>?") < slides.index("That one.")
    assert "That one." in key
    exam = (predicted / "exam.html").read_text()
    for question in QUESTIONS:
        answer = question.answer(exam_table())
        assert f"<b>{answer}</b>" in key or f"<b>{answer:.4g}</b>" in key
        assert question.hint not in html.unescape(exam)
    assert f"{len(QUESTIONS)} questions" in exam


def test_texts_are_escaped_and_rendered(written):
    index = written()
    page = (index.parent / "01_title.html").read_text()
    assert "<h1>&lt;Title&gt; &amp; more</h1>" in page
    assert "Is a &lt; b?" in page
    assert "<em>a</em> &lt; b." in page
    assert "Because &lt;b&gt;." in page
    assert "<td>1</td>" in page
    assert "a &lt; b: <b>1</b>, at least 0.5" in page
    assert '<details class="solution"><summary>Solution</summary>' in page
    assert "<h1>Plan</h1>" in (index.parent / "teacher.html").read_text()


def test_a_lesson_that_stopped_says_where(written):
    index = written("raise ValueError('<no>')")
    for page in ("index.html", "01_title.html"):
        assert "ValueError: &lt;no&gt;" in (index.parent / page).read_text()
    found = json.loads((index.parent / FINDINGS_FILE).read_text())
    assert found[0]["failure"].endswith("ValueError: <no>")
    assert "Because" in (index.parent / "notebooks" / "01_title.ipynb").read_text()
    assert "no table" in index.read_text()


def test_scripts_are_taken_along(written):
    scripts = written().parent / "scripts"
    assert [path.name for path in scripts.iterdir()] == ["01_title.py"]
    assert read_lesson(scripts / "01_title.py").title == "<Title> & more"


def test_the_table_links_the_script(written):
    table = (written().parent / TABLE_FILE).read_text()
    assert "| 1 | [<Title> & more](experiments/lessons/01_title.py) | *a* < b. |" in table


def test_a_notebook_holds_the_cells_of_its_lesson():
    for lesson in find_lessons():
        notebook = json.loads(to_notebook(lesson))
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        assert len({cell["id"] for cell in notebook["cells"]}) == len(lesson.cells)
        for cell, written in zip(lesson.cells, notebook["cells"], strict=True):
            source = "".join(written["source"])
            assert cell.source in source
            assert (written["cell_type"] == "code") == (cell.kind == "code")
            assert ("<details>" in source) == (cell.kind == "solution")
            assert written.get("outputs", []) == []


TEACHER = (FOLDER / "teacher.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runs():
    """Lessons as if they had been run, each with a finding of its own."""
    return [LessonRun(one, (), f"Found {one.number}.", "a table", "", 0.0, 0.0) for one in find_lessons()]


@pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
def test_every_lesson_asks_for_a_prediction_before_its_experiment(lesson):
    place = split_at_prediction(lesson)
    assert lesson.cells[place - 1].source.startswith(PREDICT)
    assert 0 < place < len(lesson.cells)
    asked = prediction_text(lesson)
    assert "?" in asked
    assert not any(line.startswith(">") for line in asked.splitlines())
    assert asked.replace("\n", "") in lesson.cells[place - 1].source.replace("\n", "").replace(
        "> ", ""
    ).replace(">", "")


def test_the_plan_fills_two_sessions_of_45_minutes():
    sessions = read_plan(TEACHER)
    assert len(sessions) == 2
    for session in sessions:
        ends = [tuple(map(int, step.minutes.split("–"))) for step in session.steps]
        assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
        assert ends[-1][1] == 45
    assert [step.lesson for session in sessions for step in session.steps if step.lesson] == list(range(1, 9))


def test_the_plan_may_name_lessons_with_and_without_a_link():
    rows = "## A class\n\n| minutes | what | lesson |\n|---|---|---|\n"
    plan = read_plan(f"{rows}| 0–5 | Ask. | |\n| 5–9 | Do. | 3 |\n| 9–12 | Do. | [11](11_x.py) |\n")
    assert [session.title for session in plan] == ["A class"]
    assert plan[0].steps == (Step("0–5", "Ask.", None), Step("5–9", "Do.", 3), Step("9–12", "Do.", 11))


def test_slides_ask_before_they_answer(runs):
    slides = make_slides(runs, TEACHER)
    assert [slide.kind for slide in slides].count("session") == 2
    for run in runs[:8]:
        own = [slide for slide in slides if slide.run is run]
        assert [slide.kind for slide in own[:3]] == ["question", "prediction", "finding"]
        assert [run.finding in slide.text for slide in own] == [slide.kind == "finding" for slide in own]


def test_slides_of_some_lessons_and_without_a_plan(runs):
    assert {slide.run.lesson.number for slide in make_slides(runs[:2], TEACHER) if slide.run} == {1, 2}
    every = make_slides(runs[8:], "# Nothing planned")
    assert [slide.run.lesson.number for slide in every if slide.kind == "question"] == [9, 10, 11]


def test_the_answer_key_has_all_answers_and_slips():
    key = answer_key(QUESTIONS, exam_table())
    for question, solved in zip(QUESTIONS, key, strict=True):
        right = question.answer(exam_table())
        assert (
            solved["answer"] == right
            if isinstance(right, str)
            else float(solved["answer"]) == pytest.approx(right, rel=1e-3)
        )
        assert [hint for _, hint in solved["slips"]] == [slip.hint for slip in question.slips]
