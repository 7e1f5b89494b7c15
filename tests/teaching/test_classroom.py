import pytest

from skinmnist.teaching.classroom import (
    PREDICT,
    Step,
    answer_key,
    make_slides,
    prediction_text,
    read_plan,
    split_at_prediction,
)
from skinmnist.teaching.exam import QUESTIONS, exam_table
from skinmnist.teaching.lesson import FOLDER, LessonRun, find_lessons

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
