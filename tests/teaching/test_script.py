import pytest

from skinmnist.errors import InputError
from skinmnist.teaching.script import find_lessons, parse_cells, read_lesson

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
    with pytest.raises(InputError, match="received lesson 11; expected 1 to 10"):
        find_lessons(numbers=[11])
