import json

import pytest

from skinmnist.teaching.gallery import FINDINGS_FILE, TABLE_FILE, to_notebook, write_gallery
from skinmnist.teaching.lesson import find_lessons, read_lesson, run_lesson

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


@pytest.fixture
def written(tmp_path):
    def write(more=""):
        script = tmp_path / "01_title.py"
        script.write_text(SCRIPT.format(more=more))
        return write_gallery([run_lesson(read_lesson(script))], [], tmp_path / "out" / "deep", "# Plan")

    return write


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
