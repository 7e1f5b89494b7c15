import re
import tomllib
from collections import Counter

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from skinmnist.errors import InputError
from skinmnist.experiment.splits import assign_folds
from skinmnist.lessons import main
from skinmnist.teaching.exam import (
    MISS_COST,
    QUESTIONS,
    Question,
    blank_sheet,
    exam_table,
    mark,
    read_sheet,
)
from skinmnist.teaching.lesson import find_lessons


def right_answers():
    return {question.key: question.answer(exam_table()) for question in QUESTIONS}


def test_one_question_for_each_lesson():
    assert [question.number for question in QUESTIONS] == [lesson.number for lesson in find_lessons()]


def test_right_answers_are_right():
    assert all(one.correct and not one.remark for one in mark(right_answers(), QUESTIONS, exam_table()))


def test_numbers_may_be_words():
    words = {
        key: f" {answer} %" if isinstance(answer, float) else answer.upper()
        for key, answer in right_answers().items()
    }
    assert all(one.correct for one in mark(words, QUESTIONS, exam_table()))


def test_answers_worked_out_in_another_way():
    table, answers = exam_table(), right_answers()
    counts = {name: int(np.sum(table.labels == code)) for code, name in enumerate(table.class_names)}
    assert answers["q1"] == pytest.approx(100 * counts["nv"] / 1200)
    lesions = list(table.lesion_ids)
    assert answers["q3"] == pytest.approx(100 * sum(lesions.count(one) > 1 for one in lesions) / 1200)
    assert answers["q5"] == pytest.approx(counts["nv"] / counts["vasc"])
    stated = re.findall(r"(\w+) (0\.\d\d)", QUESTIONS[5].text)
    assert {name: float(share) for name, share in stated} == similar_in_colour(table)
    assert answers["q6"] == max(stated, key=lambda one: float(one[1]) / counts[one[0]])[0]
    assert answers["q7"] == pytest.approx(100 * counts["mel"] / (counts["mel"] + counts["nv"]))
    values = np.array([float(text) for text in re.findall(r"-?0\.\d+", QUESTIONS[7].text)])
    assert values == pytest.approx(nearest_means(table), abs=0.00051)
    t = values.mean() / np.sqrt((1 / 5 + 1 / 4) * values.var(ddof=1))
    from scipy.stats import t as student

    assert answers["q8"] == pytest.approx(2 * student.sf(t, 4))
    assert answers["q9"] == pytest.approx(7 * counts["nv"] / 1200)
    # Cheapest first among all thresholds, for chances that are spread evenly.
    chances = np.linspace(0.0, 1.0, 100_001)
    cheaper_out = (1 - chances) * 1 < chances * MISS_COST
    assert answers["q11"] == pytest.approx(100 * chances[cheaper_out.argmax()], abs=0.01)


def similar_in_colour(table):
    colours = [picture.reshape(-1, 3).mean(axis=0) for picture in table.pixels]
    own = list(table.labels).index(table.class_names.index("df"))
    ranked = sorted(range(len(table)), key=lambda row: np.linalg.norm(colours[row] - colours[own]))
    found = Counter(table.class_names[table.labels[row]] for row in ranked[1:51])
    return {name: count / 50 for name, count in found.items()}


def nearest_means(table):
    colours = np.array([picture.reshape(-1, 3).mean(axis=0) for picture in table.pixels])
    folds, gains = assign_folds(table, 5)[0], []
    for fold in range(5):
        train, test = folds != fold, folds == fold
        by_pixels, by_colour = (
            NearestCentroid().fit(rows[train], table.labels[train]).score(rows[test], table.labels[test])
            for rows in (table.pixels.astype(float), colours)
        )
        gains.append(by_pixels - by_colour)
    return gains


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.key)
def test_every_slip_is_wrong_and_has_a_hint_of_its_own(question):
    table = exam_table()
    hints = [question.hint]
    for slip in question.slips:
        answered = mark({question.key: slip.answer(table)}, [question], table)[0]
        assert not answered.correct
        assert answered.remark == slip.hint
        hints.append(slip.hint)
    assert len(set(hints)) == len(hints)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.key)
def test_no_hint_gives_the_answer_away(question):
    right = question.answer(exam_table())
    written = [right] if isinstance(right, str) else [f"{right:.{digits}f}" for digits in (0, 1, 2)]
    for text in [question.hint, *(slip.hint for slip in question.slips)]:
        words = text.replace(".", " ").replace(",", " ").split()
        assert not {str(one) for one in written} & set(words)


def test_other_answers_get_the_general_hint():
    marks = mark({"q1": -1.0, "q6": "df", "q8": "tiny"}, QUESTIONS, exam_table())
    assert marks[0].remark == QUESTIONS[0].hint
    assert marks[5].remark == QUESTIONS[5].hint
    assert marks[7].remark == f"Expected {QUESTIONS[7].expects}."
    for no_number in ("1.2.3", ".", "-", "1e"):
        assert mark({"q8": no_number}, QUESTIONS, exam_table())[7].remark == marks[7].remark
    assert marks[1].remark == "Not answered yet."


def test_shares_in_the_wrong_unit_have_a_hint_of_their_own():
    table = exam_table()
    shares = [question for question in QUESTIONS if question.unit]
    assert {question.unit for question in shares} == {"percent", "fraction"}
    for question in shares:
        factor, word = (0.01, "fraction") if question.unit == "percent" else (100, "percent")
        wrong = mark({question.key: factor * question.answer(table)}, [question], table)[0]
        assert not wrong.correct
        assert wrong.remark.startswith("That is")
        assert word in wrong.remark.partition(".")[0]


def test_percent_is_asked_for_by_name():
    for question in QUESTIONS:
        assert (question.unit == "percent") == ("percent" in question.text)


@pytest.mark.parametrize("written", ["mel", "Mel ", "melanoma", "Melanoma", " MELANOMA"])
def test_full_names_of_classes_are_right(written):
    asked = Question(1, "Which?", lambda table: "mel", "Look.")
    assert mark({"q1": written}, [asked], exam_table())[0].correct
    assert not mark({"q1": "melan"}, [asked], exam_table())[0].correct


def test_the_blank_sheet_asks_everything_and_answers_nothing():
    sheet = blank_sheet(QUESTIONS)
    assert set(tomllib.loads(sheet).values()) == {""}
    assert not any(question.hint in sheet for question in QUESTIONS)
    assert all(question.text in sheet for question in QUESTIONS)


@pytest.mark.parametrize(
    ("sheet", "complaint"),
    [
        ("q1 = ", "is not TOML"),
        ("q99 = 1", "answers 'q99'"),
        ("q1 = [1]", "expected a number, or a word in quotes"),
        (f"q1 = {10**400}", "expected a smaller number"),
        (f"q1 = -{10**400}", "expected a smaller number"),
    ],
)
def test_a_damaged_sheet_is_one_sentence(sheet, complaint, tmp_path, capsys):
    path = tmp_path / "answers.toml"
    path.write_text(sheet)
    with pytest.raises(InputError, match=complaint):
        read_sheet(path, QUESTIONS)
    assert main(["--exam", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_writes_a_sheet_then_marks_it(tmp_path, capsys):
    path = tmp_path / "answers.toml"
    assert main(["--exam", str(path)]) == 0
    assert "blank sheet" in capsys.readouterr().out
    assert main(["--exam", str(path)]) == 1
    blank = capsys.readouterr().out
    assert f"0 of {len(QUESTIONS)}" in blank
    assert not any(question.hint in blank for question in QUESTIONS)
    path.write_text("\n".join(f"{key} = {answer!r}" for key, answer in right_answers().items()))
    assert main(["--exam", str(path)]) == 0
    assert f"{len(QUESTIONS)} of {len(QUESTIONS)}" in capsys.readouterr().out
