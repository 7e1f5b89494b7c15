"""The ten questions of the exam, one for each lesson; to add one is to add an entry."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from skinmnist.analysis.prior_correction import prior_corrected
from skinmnist.analysis.significance import corrected_t_test
from skinmnist.datasets.synthetic.lesions import make_lesions
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.splits import assign_folds
from skinmnist.teaching.exam import Question, Slip

#: Differences of two methods over five folds, for the question on tests.
DIFFERENCES = (0.021, 0.004, 0.018, 0.007, 0.015)
#: What a model says of one picture: probabilities of nv, mel and bkl.
SAID = {"nv": 0.62, "mel": 0.20, "bkl": 0.18}


@lru_cache(maxsize=1)
def exam_table() -> PixelTable:
    """Return the small table that the questions speak of: 1,200 pictures of 8 x 8, always the same."""
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


def _decision(table: PixelTable) -> str:
    counts = np.array([_share(table, name) for name in SAID]) * len(table)
    return list(SAID)[int(prior_corrected(np.array([list(SAID.values())]), counts).argmax())]


QUESTIONS = [
    Question(
        1,
        "What accuracy, in percent, does the program have that answers every picture of the table with "
        "its most frequent class?",
        "a number, to 0.5",
        lambda table: float(100 * table.class_counts.max() / len(table)),
        "Accuracy is the share of pictures that are named rightly; look at `table.class_counts`.",
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
        "`fold = assign_folds(table, 5)[0]` deals the table into five parts (from "
        "`skinmnist.experiment.splits`). Part 0 is held out, the rest is resampled by RandomOverSampler "
        "until all classes are equal. How many rows are trained on?",
        "a whole number",
        lambda table: float(len(table.class_names) * _train_counts(table).max()),
        "Every class becomes as large as the largest class of the *training part*.",
        slips=(
            Slip(
                lambda table: float(len(table.class_names) * table.class_counts.max()),
                "You resampled the whole table: the held-out part would then have copies of its pictures "
                "in training.",
            ),
            Slip(
                lambda table: float(_train_counts(table).sum()),
                "That is the training part before it was resampled.",
            ),
        ),
    ),
    Question(
        3,
        "What share of the table's pictures, in percent, show a lesion of which the table holds another "
        "picture?",
        "a number, to 0.5",
        _pictures_with_sibling,
        "Count the pictures of each lesion with `np.unique(table.lesion_ids, return_counts=True)`, and "
        "come back from lesions to pictures.",
        tolerance=0.5,
        slips=(
            Slip(
                _lesions_with_sibling,
                "That is the share of the *lesions*. Each of them has several pictures.",
            ),
            Slip(
                lambda table: 100 - _pictures_with_sibling(table),
                "That is the share of those that have none.",
            ),
        ),
    ),
    Question(
        4,
        "SMOTE starts at the table's first `mel` picture and goes a quarter of the way (u = 0.25) to its "
        "second one. What is the first pixel value (column 0) of the picture that it draws, before "
        "rounding?",
        "a number, to 0.3",
        lambda table: _child(table, 0.25),
        "The child is a + u · (b − a). On bytes, the difference would wrap around: turn them into floats "
        "first.",
        tolerance=0.3,
        slips=(
            Slip(lambda table: _child(table, 0.75), "You went from the second picture to the first."),
            Slip(lambda table: _child(table, 0.5), "That is the middle. SMOTE draws u anew for every child."),
        ),
    ),
    Question(
        5,
        "An SVM shall be trained with weights instead of copies, so that every class of the table weighs "
        "as much as the largest. What weight does one row of `vasc` get, if a row of the largest class "
        "weighs 1?",
        "a number, to 0.1",
        lambda table: float(table.class_counts.max() / table.class_counts[table.class_names.index("vasc")]),
        "All rows of `vasc` together shall weigh what all rows of the largest class weigh together.",
        tolerance=0.1,
        slips=(
            Slip(
                lambda table: 1 / _share(table, "vasc"),
                "That is one over its share of the table. Compare it with the largest class, not with "
                "all rows.",
            ),
            Slip(
                lambda table: float(
                    table.class_counts[table.class_names.index("vasc")] / table.class_counts.max()
                ),
                "The wrong way round: the rare rows shall weigh more.",
            ),
        ),
    ),
    Question(
        6,
        "A model that was trained on the table as it is says of a picture: "
        + ", ".join(f"{name} {chance:.2f}" for name, chance in SAID.items())
        + ", nothing else. Which class does it answer after prior correction with the table's frequencies?",
        "a class name in quotes",
        _decision,
        "Divide each probability by how many pictures of its class the table holds, and take the largest.",
        slips=(
            Slip(lambda table: max(SAID, key=SAID.__getitem__), "That is its answer before the correction."),
        ),
    ),
    Question(
        7,
        "A model was trained on equally many moles and melanomas, copied until they were equal, and says "
        "of a picture: melanoma, 50 %. Only `nv` and `mel` come into question, as frequent as in the "
        "table. If the model was right about the world it was trained in, how probable is melanoma "
        "really, in percent?",
        "a number, to 0.5",
        lambda table: 100 * _share(table, "mel") / (_share(table, "mel") + _share(table, "nv")),
        "Give the frequencies back: multiply both probabilities by the frequency of their class, and "
        "scale them to one.",
        tolerance=0.5,
        slips=(
            Slip(
                lambda table: 50.0,
                "That is its promise in the world of copies. How frequent is each class here?",
            ),
            Slip(
                lambda table: 100 * _share(table, "mel"),
                "That is the share among all classes. Only two come into question.",
            ),
            Slip(
                lambda table: 100 * _share(table, "nv") / (_share(table, "mel") + _share(table, "nv")),
                "You divided by the frequencies. The model was trained without them: multiply.",
            ),
        ),
    ),
    Question(
        8,
        "Two methods differ over the five folds of one cross-validation by "
        f"{', '.join(map(str, DIFFERENCES))}. What is the p-value of the corrected resampled t-test "
        "(two-sided)?",
        "a number, to 0.003",
        lambda table: corrected_t_test(DIFFERENCES, 1 / 4).p,
        "It is `skinmnist.analysis.significance.corrected_t_test`; its second argument is test rows over "
        "training rows.",
        tolerance=0.003,
        slips=(
            Slip(
                lambda table: corrected_t_test(DIFFERENCES, 0.0).p,
                "That is the usual paired t-test, which takes the folds for independent.",
            ),
            Slip(
                lambda table: corrected_t_test(DIFFERENCES, 1 / 5).p,
                "Of five folds one is tested and four are trained on: what is the ratio of the two?",
            ),
            Slip(
                lambda table: corrected_t_test(DIFFERENCES, 1 / 4).p / 2,
                "That is one side only. Nobody said beforehand which method should be better.",
            ),
        ),
    ),
    Question(
        9,
        "A network is trained for ten epochs on the table, and for ten epochs on the table after "
        "RandomOverSampler to equal classes. How many times as many steps does the second training take?",
        "a number, to 0.05",
        lambda table: float(len(table.class_names) * table.class_counts.max() / len(table)),
        "Steps per epoch grow with the rows. How many rows are there after resampling, and how many before?",
        tolerance=0.05,
        slips=(
            Slip(lambda table: 1.0, "An epoch is a pass over *all rows*, and there are more of them now."),
            Slip(
                lambda table: float(len(table.class_names)),
                "Only if each class had been as large as the whole table. Each becomes as large as the "
                "largest.",
            ),
        ),
    ),
    Question(
        10,
        "All classes look exactly alike (`overlap=1`). What balanced accuracy, in percent, does the best "
        "remedy reach on very many new pictures of the table's classes?",
        "a number, to 0.5",
        lambda table: 100 / len(table.class_names),
        "If pictures tell nothing, each class is named equally often whatever the truth is. What is the "
        "mean of the recalls?",
        tolerance=0.5,
        slips=(
            Slip(
                lambda table: float(100 * table.class_counts.max() / len(table)),
                "That accuracy comes from always naming the largest class. Balanced accuracy counts classes.",
            ),
            Slip(lambda table: 50.0, "Chance is one half for two classes. How many are there?"),
        ),
    ),
]
