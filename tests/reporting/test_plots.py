"""The figures of the report one by one."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image

from skinmnist import InputError, make_lesions, read_run, run_comparison
from skinmnist.experiment.run_folder.record import read_mistakes
from skinmnist.reporting.sections.outcomes import confusion_figure
from skinmnist.reporting.theme import headed


@pytest.fixture(scope="module")
def run():
    return run_comparison(
        make_lesions(120, size=8), ["none", "SMOTE"], ["logistic_regression", "dummy"], folds=3, jobs=1
    )


def draw_all(run):
    calls = {
        "tradeoff": (),
        "leaderboard": (),
        "confusion": ("SMOTE + dummy",),
        "reliability": ("SMOTE + dummy",),
        "samples": ("SMOTE",),
        "mistakes": ("none + dummy",),
    }
    return {name: getattr(run.plot, name)(*given) for name, given in calls.items()}


def test_each_is_a_figure_that_a_notebook_shows(run):
    before = rcParams.copy()
    for name, figure in draw_all(run).items():
        assert isinstance(figure, Figure), name
        content, size = figure._repr_png_()
        with Image.open(pd.io.common.BytesIO(content)) as picture:
            assert picture.size == (2 * size["width"], 2 * size["height"])
            assert len(picture.convert("L").getcolors(256)) > 10, f"{name} is blank"
    # Matplotlib chooses its backend when it saves.
    assert [name for name in before if rcParams[name] != before[name]] in ([], ["backend"])


def test_a_confusion_matrix_is_that_of_the_predictions(run):
    rows = run.predictions[(run.predictions["sampler"] == "none") & (run.predictions["model"] == "dummy")]
    counts = np.zeros((7, 7), np.int64)
    np.add.at(counts, (rows["label"].astype(int), rows["predicted"].astype(int)), 1)
    expected = confusion_figure(counts, run.info.table.class_names)
    numbers = [text.get_text() for text in run.plot.confusion("none + dummy").axes[0].texts]
    assert numbers == [text.get_text() for text in expected.axes[0].texts]


def test_mistakes_are_those_of_the_pair(run):
    found, pictures = read_mistakes(run, ("none", "dummy"))
    figure = run.plot.mistakes("none + dummy")
    assert len(figure.axes) == len(found) == len(pictures) > 5
    assert f"called {run.info.table.class_names[found['predicted'][0]]}" in figure.texts[0].get_text()


def test_a_title_moves_nothing_of_the_figure(run):
    plain = confusion_figure(np.eye(3, dtype=np.int64), ["a", "b", "c"])
    before = [axes.get_window_extent().bounds for axes in plain.axes]
    words = [text.get_window_extent().bounds for text in plain.texts]
    above = headed(plain, "none + dummy")
    after = [axes.get_window_extent().bounds for axes in above.axes]
    np.testing.assert_allclose(after, before)
    np.testing.assert_allclose([text.get_window_extent().bounds for text in above.texts[:-1]], words)
    assert above.texts[-1].get_window_extent().y0 >= before[0][1] + before[0][3]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda plot: plot.confusion("SMOT + dummy"),
            "unknown pair 'SMOT .*; did you mean 'SMOTE [+] dummy'",
        ),
        (lambda plot: plot.reliability(("dummy", "none")), "did you mean 'none [+] dummy'"),
        (lambda plot: plot.mistakes("svm"), "expected a sampler and a model of this run: none [+] logistic"),
        (lambda plot: plot.mistakes(3), "received 3 as a pair; expected text such as 'none"),
        (lambda plot: plot.samples("smot"), "unknown sampler 'smot'; did you mean 'SMOTE'"),
        (lambda plot: plot.samples("none"), "no rows made by none are stored; .* SMOTE"),
    ],
)
def test_wrong_names_are_corrected(run, call, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        call(run.plot)
    assert "\n" not in str(caught.value)


def test_names_ignore_case_and_spaces(run):
    figure = run.plot.confusion("smote+Dummy")
    assert figure.texts[-1].get_text() == "SMOTE + dummy"


def test_nothing_to_draw(make_run):
    empty = make_run(finished=lambda cell: False, n_rows=100, folds=2)
    for name in ("tradeoff", "leaderboard", "confusion", "mistakes"):
        with pytest.raises(InputError, match="no cell of this run has finished"):
            getattr(read_run(empty.folder).plot, name)()
