import ast
import importlib.util
import os
import sys

import pytest

from skinmnist.errors import InputError
from skinmnist.teaching import lesson
from skinmnist.teaching.lesson import find_lessons, parse_cells, read_lesson, run_lesson, run_lessons
from skinmnist.teaching.notebook_api import (
    Claim,
    Paragraph,
    Printed,
    ShownFigure,
    ShownTable,
    claim,
    finding,
    say,
)

SCRIPT = '''"""Belongs to no cell."""
# %% [markdown]
# # 3. A title
#
# Is this
# a question?
#
# More.

# %%

x = 1

# %% tags=["solution"]
y = x

# %% [markdown]
#
'''


def test_cells_keep_kind_source_and_line():
    cells = parse_cells(SCRIPT)
    assert [cell.kind for cell in cells] == ["markdown", "code", "solution"]
    assert [cell.source for cell in cells][1:] == ["x = 1", "y = x"]
    lines = SCRIPT.splitlines()
    assert [lines[cell.line - 1] for cell in cells] == ["# # 3. A title", "x = 1", "y = x"]


def test_a_lesson_knows_its_title_and_question(tmp_path):
    path = tmp_path / "03_a_title.py"
    path.write_text(SCRIPT)
    lesson = read_lesson(path)
    assert (lesson.number, lesson.slug, lesson.title) == (3, "03_a_title", "A title")
    assert lesson.question == "Is this a question?"


def test_what_is_no_lesson_is_said(tmp_path):
    path = tmp_path / "03_a_title.py"
    path.write_text("# %%\nx = 1\n")
    with pytest.raises(InputError, match=r"first cell of text that begins with '# 1\. Title'"):
        read_lesson(path)
    with pytest.raises(InputError, match="found no lessons in"):
        find_lessons(tmp_path / "nowhere")


def test_only_the_lessons_asked_for_in_their_order():
    assert [lesson.number for lesson in find_lessons(numbers=[7, 2, 7])] == [7, 2]
    with pytest.raises(InputError, match="received lesson 12; expected 1 to 11"):
        find_lessons(numbers=[12])


HEAD = "# %% [markdown]\n# # 1. Title\n#\n# Why?\n"


@pytest.fixture
def run(tmp_path):
    def run_script(body):
        path = tmp_path / "01_title.py"
        path.write_text(HEAD + body, encoding="utf-8")
        return run_lesson(read_lesson(path))

    return run_script


def test_what_is_shown_is_taken_down_in_order(run):
    shown = run(
        """
# %%
import pandas as pd
from skinmnist.teaching.notebook_api import claim, figure, finding, say, show, show_table
print("one")
print("two")
say("It is **three**.")
show_table(pd.DataFrame({"half": [0.5, float("nan")]}, index=["a", "b"]), "A table.", digits=2)
drawn, axes = figure(height=100)
axes.plot([0, 1])
show(drawn, "A line that rises.", cover=True)
claim("Two is more than one", 2 - 1, at_least=0.5)
finding("Numbers grow.")
# %%
print(__name__)
"""
    )
    assert not shown.failure
    first, second = shown.outputs[1:]
    assert [type(output) for output in first] == [
        Printed,
        Paragraph,
        ShownTable,
        ShownFigure,
        Claim,
        Paragraph,
    ]
    assert first[0] == Printed("one\ntwo\n")
    assert first[2] == ShownTable("A table.", ("index", "half"), (("a", "0.50"), ("b", "–")))
    assert first[3].figure.alt == "A line that rises."
    assert first[3].figure.uri.startswith("data:image/svg+xml;base64,")
    assert second == (Printed("__main__\n"),)
    assert shown.finding == "Numbers grow."
    assert shown.cover is first[3]
    assert [one.sentence for one in shown.claims] == ["Two is more than one"]


def test_a_claim_that_fails_stops_the_lesson_and_names_the_line(run):
    shown = run(
        "\n# %%\nfrom skinmnist.teaching.notebook_api import claim\n\n"
        'claim("Up", 0.1, at_least=0.2)\n# %%\nprint("never")\n'
    )
    assert shown.failure == "01_title.py, line 9: AssertionError: Up: found 0.1, expected at least 0.2"
    assert len(shown.outputs) == 2
    assert not shown.claims[0].holds


def test_the_seed_changes_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    path = tmp_path / "01_title.py"
    body = "\n# %%\nfrom skinmnist.teaching.notebook_api import lesson_seed, open_table\n\n"
    path.write_text(HEAD + body + "print(lesson_seed(), open_table(60).pixels.sum())\n", encoding="utf-8")
    first, again, other = (run_lesson(read_lesson(path), seed).outputs for seed in (1, 1, 2))
    assert first == again
    assert first[1][-1].text.startswith("1 ")
    assert first[1][-1].text.split()[1] != other[1][-1].text.split()[1]


def test_a_lesson_has_one_thread(tmp_path):
    path = tmp_path / "01_title.py"
    body = "\n# %%\nimport numpy\nfrom threadpoolctl import threadpool_info\n\n"
    path.write_text(
        HEAD + body + "print([one['num_threads'] for one in threadpool_info()])\n", encoding="utf-8"
    )
    before = dict(os.environ)
    (shown,) = run_lessons([read_lesson(path)], jobs=1)
    assert not shown.failure
    assert set(ast.literal_eval(shown.outputs[1][0].text)) == {1}
    assert dict(os.environ) == before


def test_a_lesson_sees_the_environment_of_its_start(tmp_path, monkeypatch):
    path = tmp_path / "01_title.py"
    body = "\n# %%\nimport os\n\nprint(os.environ.get('A_WORD'))\n"
    path.write_text(HEAD + body, encoding="utf-8")
    seen = []
    for word in ("one", None):
        monkeypatch.setenv("A_WORD", word) if word else monkeypatch.delenv("A_WORD")
        (shown,) = run_lessons([read_lesson(path)], jobs=1)
        seen.append(shown.outputs[1][0].text.strip())
    assert seen == ["one", "None"]


@pytest.mark.parametrize("name", lesson._SHARED)
def test_the_server_imports_what_there_is(name):
    """It would say nothing about a name that does not exist."""
    assert importlib.util.find_spec(name)


@pytest.mark.skipif(sys.platform != "linux", reason="lessons are forked on Linux only")
@pytest.mark.parametrize(("length", "method"), [(20, "forkserver"), (100, "spawn")])
def test_long_names_of_temporary_folders_have_no_socket(length, method, monkeypatch):
    monkeypatch.setattr(lesson.tempfile, "gettempdir", lambda: "/" + "t" * length)
    assert lesson._fresh_processes().get_start_method() == method


def test_an_error_of_syntax_is_a_failure_too(run):
    assert "SyntaxError" in run("\n# %%\n1 +\n").failure


@pytest.mark.parametrize(
    ("value", "margin"), [(0.3, {"at_least": 0.3}), (-1, {"at_most": 0}), (0, {"at_least": 0})]
)
def test_a_plain_script_prints(value, margin, capsys):
    claim("A relation", value, **margin)
    say("Paragraph.")
    finding("Found.")
    printed = capsys.readouterr().out
    assert "Claim: A relation" in printed
    assert "Paragraph.\n**Finding.** Found.\n" in printed


@pytest.mark.parametrize("margin", [{}, {"at_least": 0, "at_most": 1}])
def test_a_claim_has_one_margin(margin):
    with pytest.raises(TypeError, match="either at_least or at_most"):
        claim("A relation", 0, **margin)


def test_nan_keeps_no_margin():
    with pytest.raises(AssertionError, match="found nan"):
        claim("A relation", float("nan"), at_most=1)
