"""The exam: a question for each lesson, a blank sheet, and marks with hints that never reveal the answer."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from skinmnist import facts
from skinmnist.analysis.significance import corrected_t_test
from skinmnist.datasets.synthetic.lesions import make_lesions
from skinmnist.datasets.table import PixelTable
from skinmnist.decisions.probabilities import change_prior
from skinmnist.errors import InputError
from skinmnist.experiment.splits import assign_folds

Answer = float | str

#: TOML allows larger integers, but they overflow a float.
LARGEST = 10**300


@dataclass(frozen=True)
class Slip:
    """A common wrong answer and the hint for it."""

    answer: Callable[[PixelTable], Answer]
    hint: str


@dataclass(frozen=True)
class Question:
    """A question; its correct answer is computed from the exam's table."""

    #: The number of the question and of its lesson.
    number: int
    #: The question in Markdown, or a function of the exam's table if it states numbers of the table.
    asked: str | Callable[[PixelTable], str]
    answer: Callable[[PixelTable], Answer]
    #: The hint for any wrong answer that is not in `slips`.
    hint: str
    #: The tolerance for numeric answers.
    tolerance: float = 0.0
    #: The kind of answer, if it is not an arbitrary number.
    kind: str = ""
    #: The notation of an answer that is a share; empty for any other answer.
    unit: Literal["", "percent", "fraction"] = ""
    slips: tuple[Slip, ...] = ()

    @property
    def text(self) -> str:
        """The question in Markdown."""
        return self.asked if isinstance(self.asked, str) else self.asked(exam_table())

    @property
    def key(self) -> str:
        """The key of its answer on the sheet."""
        return f"q{self.number}"

    @property
    def expects(self) -> str:
        """The expected kind of answer and its tolerance."""
        amount = {"percent": "a number in percent", "fraction": "a fraction between 0 and 1"}
        return self.kind or f"{amount.get(self.unit, 'a number')}, to {self.tolerance:g}"


@dataclass(frozen=True)
class Mark:
    """The mark of one answer; for a wrong answer, the remark is a hint."""

    question: Question
    correct: bool
    remark: str


def blank_sheet(questions: Sequence[Question]) -> str:
    """Return the sheet to fill in, as TOML: each question is a comment above its answer."""
    parts = [
        "# The exam. Write an answer after each = sign: a number, or a word in quotes.\n"
        "# The questions are about this table:\n"
        "#     from skinmnist.teaching.exam import exam_table\n"
        "#     table = exam_table()\n"
    ]
    for question in questions:
        text = "\n".join(f"# {line}".rstrip() for line in question.text.splitlines())
        parts.append(f'# {question.number}.\n{text}\n# Answer: {question.expects}\n{question.key} = ""\n')
    return "\n".join(parts)


def read_sheet(path: Path, questions: Sequence[Question]) -> dict[str, Answer]:
    """Read the non-blank answers from a sheet; raise InputError if it is not a sheet."""
    try:
        sheet = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f'{path} is not TOML ({error}); expected lines such as q1 = 12.5 or q10 = "word"; correct it'
        ) from None
    known = {question.key for question in questions}
    for key, answer in sheet.items():
        if key not in known:
            raise InputError(f"{path} answers {key!r}; expected {', '.join(sorted(known))}, so rename it")
        if isinstance(answer, bool) or not isinstance(answer, int | float | str):
            raise InputError(f"{path} answers {key} with {answer!r}; expected a number, or a word in quotes")
        if isinstance(answer, int) and abs(answer) > LARGEST:
            raise InputError(f"{path} answers {key} with more than {LARGEST:.0e}; expected a smaller number")
    return {key: answer for key, answer in sheet.items() if answer != ""}


def mark(answers: dict[str, Answer], questions: Sequence[Question], table: PixelTable) -> list[Mark]:
    """Mark answers, keyed by question, against those computed from the table."""
    return [_mark_one(answers.get(question.key), question, table) for question in questions]


def _mark_one(given: Answer | None, question: Question, table: PixelTable) -> Mark:
    if given is None:
        return Mark(question, False, "Not answered yet.")
    correct = question.answer(table)
    if isinstance(correct, float) and isinstance(given, str):
        number = re.fullmatch(
            r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*%?\s*", given.replace("−", "-")
        )
        if number is None:
            return Mark(question, False, f"Expected {question.expects}.")
        given = float(number[1])
    if _same(given, correct, question.tolerance):
        return Mark(question, True, "")
    for slip in question.slips:
        if _same(given, slip.answer(table), question.tolerance):
            return Mark(question, False, slip.hint)
    return Mark(question, False, _hint_on_unit(given, correct, question) or question.hint)


def _hint_on_unit(given: Answer, correct: Answer, question: Question) -> str:
    """Return a hint if a share is correct except for its unit, else an empty string."""
    if isinstance(given, str) or isinstance(correct, str):
        return ""
    if question.unit == "percent" and _same(100 * given, correct, question.tolerance):
        return "That is a fraction. The question asks for percent: multiply it by 100."
    if question.unit == "fraction" and _same(given / 100, correct, question.tolerance):
        return "That is in percent. The question asks for a fraction: divide it by 100."
    return ""


def _same(given: Answer, wanted: Answer, tolerance: float) -> bool:
    if isinstance(wanted, str):
        names = {wanted, facts.CLASS_TITLES.get(wanted, wanted)}
        return " ".join(str(given).split()).casefold() in {name.casefold() for name in names}
    # Slightly larger, to allow for floating-point rounding at the boundary.
    return isinstance(given, int | float) and abs(given - wanted) <= tolerance * (1 + 1e-9)


#: The cost of a missed melanoma, in false alarms.
MISS_COST = 19
#: Number of similar pictures whose classes are the probabilities of the question on prior correction.
NEIGHBOURS = 50


@lru_cache(maxsize=1)
def exam_table() -> PixelTable:
    """Return the exam's table: 1,200 synthetic pictures of 8 x 8 pixels, always the same."""
    return make_lesions(1200, size=8, random_state=7)


def _share(table: PixelTable, name: str) -> float:
    return float(np.mean(table.labels == table.class_names.index(name)))


def _train_counts(table: PixelTable) -> np.ndarray:
    return np.bincount(table.labels[assign_folds(table, 5)[0] != 0])


def _pictures_with_sibling(table: PixelTable) -> float:
    _, of_lesion, pictures = np.unique(np.asarray(table.lesion_ids), return_inverse=True, return_counts=True)
    return float(100 * np.mean(pictures[of_lesion] > 1))


def _lesions_with_sibling(table: PixelTable) -> float:
    _, pictures = np.unique(np.asarray(table.lesion_ids), return_counts=True)
    return float(100 * np.mean(pictures > 1))


def _child(table: PixelTable, share: float) -> float:
    first, second = table.pixels[
        np.flatnonzero(table.labels == table.class_names.index("mel"))[:2], 0
    ].astype(float)
    return float(first + share * (second - first))


def _mean_colours(table: PixelTable) -> np.ndarray:
    return table.pixels.reshape(len(table), -1, table.shape[2]).mean(axis=1)


def _probabilities(table: PixelTable) -> dict[str, float]:
    """Return the shares of classes among the pictures most similar to the first `df`, largest first."""
    colours = _mean_colours(table)
    picture = np.flatnonzero(table.labels == table.class_names.index("df"))[0]
    distances = np.square(colours - colours[picture]).sum(axis=1)
    nearest = np.argsort(distances, kind="stable")[1 : NEIGHBOURS + 1]
    shares = np.bincount(table.labels[nearest], minlength=len(table.class_names)) / NEIGHBOURS
    ranked = np.argsort(-shares, kind="stable")
    return {table.class_names[code]: float(shares[code]) for code in ranked if shares[code]}


def _decision(table: PixelTable) -> str:
    probabilities = _probabilities(table)
    counts = np.array([_share(table, name) for name in probabilities]) * len(table)
    return list(probabilities)[int(change_prior(np.array([list(probabilities.values())]), counts).argmax())]


@lru_cache(maxsize=1)
def _differences(table: PixelTable) -> tuple[float, ...]:
    """Return how much nearest class means gain in each fold from all pixels instead of the mean colour."""
    pixels, fold_of = table.pixels.astype(float), assign_folds(table, 5)[0]

    def accuracy(features: np.ndarray, fold: int) -> float:
        train, test = fold_of != fold, fold_of == fold
        codes = np.unique(table.labels)
        means = np.stack([features[train & (table.labels == code)].mean(axis=0) for code in codes])
        distances = np.square(features[test][:, None] - means).sum(axis=2)
        return float(np.mean(codes[distances.argmin(axis=1)] == table.labels[test]))

    colours = _mean_colours(table)
    return tuple(round(accuracy(pixels, fold) - accuracy(colours, fold), 3) for fold in range(5))


QUESTIONS = [
    Question(
        1,
        "A program answers every picture of the table with the most frequent class. What is its accuracy, "
        "in percent?",
        lambda table: float(100 * table.class_counts.max() / len(table)),
        "Accuracy is the share of pictures that are classified correctly; look at `table.class_counts`.",
        unit="percent",
        tolerance=0.5,
        slips=(
            Slip(
                lambda table: 100 / len(table.class_names),
                "That is its balanced accuracy, the mean of the recalls. Accuracy counts pictures, not "
                "classes.",
            ),
        ),
    ),
    Question(
        2,
        "`fold = assign_folds(table, 5)[0]` splits the table into five parts (from "
        "`skinmnist.experiment.splits`). Part 0 is held out, and RandomOverSampler resamples the rest "
        "until all classes are equal. How many rows does the model train on?",
        lambda table: float(len(table.class_names) * _train_counts(table).max()),
        "Every class becomes as large as the largest class of the *training rows*.",
        kind="a whole number",
        slips=(
            Slip(
                lambda table: float(len(table.class_names) * table.class_counts.max()),
                "You resampled the whole table. Then copies of held-out pictures would be among the training "
                "rows.",
            ),
            Slip(
                lambda table: float(_train_counts(table).sum()),
                "Those are the training rows before resampling.",
            ),
        ),
    ),
    Question(
        3,
        "What share of the table's pictures, in percent, show a lesion of which the table has another "
        "picture?",
        _pictures_with_sibling,
        "Count the pictures of each lesion with `np.unique(table.lesion_ids, return_counts=True)`, then "
        "go back from lesions to pictures.",
        unit="percent",
        tolerance=0.5,
        slips=(
            Slip(
                _lesions_with_sibling,
                "That is the share of the *lesions*. Each of them has several pictures.",
            ),
            Slip(
                lambda table: 100 - _pictures_with_sibling(table),
                "That is the share of pictures without another.",
            ),
        ),
    ),
    Question(
        4,
        "SMOTE starts at the table's first `mel` picture and goes a quarter of the way (u = 0.25) to its "
        "second one. What is the first pixel value (column 0) of the picture it draws, before "
        "rounding?",
        lambda table: _child(table, 0.25),
        "The child is a + u · (b − a). On bytes, the difference wraps around, so convert to floats first.",
        tolerance=0.3,
        slips=(
            Slip(lambda table: _child(table, 0.75), "You went from the second picture to the first."),
            Slip(lambda table: _child(table, 0.5), "That is the middle. SMOTE draws u anew for every child."),
        ),
    ),
    Question(
        5,
        "An SVM is trained with weights instead of copies, so that every class of the table weighs as much "
        "as the largest. What is the weight of one row of `vasc`, if a row of the largest class weighs 1?",
        lambda table: float(table.class_counts.max() / table.class_counts[table.class_names.index("vasc")]),
        "All rows of `vasc` together should weigh as much as all rows of the largest class together.",
        tolerance=0.1,
        slips=(
            Slip(
                lambda table: 1 / _share(table, "vasc"),
                "That is one over its share of the table. Compare it with the largest class, not with "
                "all rows.",
            ),
            Slip(
                lambda table: table.class_counts[table.class_names.index("vasc")] / table.class_counts.max(),
                "That is the wrong way round: rare rows should weigh more.",
            ),
        ),
    ),
    Question(
        6,
        lambda table: (
            "A model gives the table's first `df` picture these probabilities, the shares of the classes "
            f"among the {NEIGHBOURS} pictures of the most similar mean colour: "
            + ", ".join(f"{name} {share:.2f}" for name, share in _probabilities(table).items())
            + ", and zero for all others. Which class does it answer after prior correction with the "
            "table's frequencies?"
        ),
        _decision,
        "Divide each probability by the number of pictures of its class, and take the largest.",
        kind="a class in quotes, by its short or its full name",
        slips=(
            Slip(
                lambda table: next(iter(_probabilities(table))),
                "That is its answer before the correction.",
            ),
        ),
    ),
    Question(
        7,
        "A model was trained on `nv` and `mel`, copied until they were equally frequent. It gives a picture "
        "a melanoma probability of 50 %, and it is calibrated for that class mix. Only `nv` and `mel` are "
        "possible, as frequent as in the table. What is the true probability of melanoma, in percent?",
        lambda table: 100 * _share(table, "mel") / (_share(table, "mel") + _share(table, "nv")),
        "Give the frequencies back: multiply both probabilities by the frequency of their class, and "
        "scale them to one.",
        unit="percent",
        tolerance=0.5,
        slips=(
            Slip(
                lambda table: 50.0,
                "That is the answer at the class mix of the copies. How frequent is each class here?",
            ),
            Slip(
                lambda table: 100 * _share(table, "mel"),
                "That is the share among all classes. Only two are possible.",
            ),
            Slip(
                lambda table: 100 * _share(table, "nv") / (_share(table, "mel") + _share(table, "nv")),
                "You divided by the frequencies. The model was trained without them, so multiply.",
            ),
        ),
    ),
    Question(
        8,
        lambda table: (
            "A picture gets the class whose mean is nearest: by all pixel values, or by the mean colour "
            "alone. Over the five folds of one cross-validation of the table, the accuracies of the two "
            f"methods differ by {', '.join(map(str, _differences(table)))}. What is the p-value of the "
            "corrected resampled t-test (two-sided)?"
        ),
        lambda table: corrected_t_test(_differences(table), 1 / 4).p,
        "It is `skinmnist.analysis.significance.corrected_t_test`; its second argument is test rows over "
        "training rows.",
        unit="fraction",
        tolerance=0.003,
        slips=(
            Slip(
                lambda table: corrected_t_test(_differences(table), 0.0).p,
                "That is the usual paired t-test, which treats the folds as independent.",
            ),
            Slip(
                lambda table: corrected_t_test(_differences(table), 1 / 5).p,
                "Of five folds, one is for testing and four are for training. What is the ratio of the two?",
            ),
            Slip(
                lambda table: corrected_t_test(_differences(table), 1 / 4).p / 2,
                "That is one side only. No direction was fixed beforehand.",
            ),
        ),
    ),
    Question(
        9,
        "A network is trained for ten epochs on the table, and for ten epochs on the table after "
        "RandomOverSampler to equal classes. How many times as many steps does the second training take?",
        lambda table: float(len(table.class_names) * table.class_counts.max() / len(table)),
        "Steps per epoch grow with the rows. How many rows are there after resampling, and how many before?",
        tolerance=0.05,
        slips=(
            Slip(lambda table: 1.0, "An epoch is a pass over *all rows*, and now there are more rows."),
            Slip(
                lambda table: float(len(table.class_names)),
                "That holds if each class becomes as large as the whole table. Each becomes as large as the "
                "largest class.",
            ),
        ),
    ),
    Question(
        10,
        "All classes look exactly alike (`overlap=1`). What balanced accuracy, in percent, does the best "
        "imbalance strategy reach on very many new pictures of these classes?",
        lambda table: 100 / len(table.class_names),
        "If pictures carry no information, the answers are the same mix whatever the true class is. What "
        "is the mean of the recalls?",
        unit="percent",
        tolerance=0.5,
        slips=(
            Slip(
                lambda table: float(100 * table.class_counts.max() / len(table)),
                "That accuracy comes from always naming the largest class. Balanced accuracy counts classes.",
            ),
            Slip(lambda table: 50.0, "Chance is one half for two classes. How many are there?"),
        ),
    ),
    Question(
        11,
        f"A missed melanoma costs as much as {MISS_COST} harmless spots taken out for nothing. From which "
        "probability of melanoma, in percent, should a spot be taken out?",
        lambda table: 100 / (1 + MISS_COST),
        "Compare expected costs: taking out a spot costs a false alarm if it is not a melanoma, and leaving "
        "it costs a miss if it is. At which probability are the two equal?",
        unit="percent",
        tolerance=0.1,
        slips=(
            Slip(
                lambda table: 100 / MISS_COST,
                "Those are the odds, not the probability. What is 1 : 1 as a probability?",
            ),
            Slip(
                lambda table: 50.0,
                "That is the threshold of the most probable class. It counts both mistakes alike.",
            ),
            Slip(
                lambda table: 100 * MISS_COST / (1 + MISS_COST),
                "The more a miss costs, the *lower* the threshold.",
            ),
        ),
    ),
]
