"""Samplers, models and metrics of other packages: a tiny one is installed, and a broken one beside it."""

import re
import sys

import numpy as np
import pytest

from skinmnist import compare, run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.grid import resolve_models, resolve_samplers
from skinmnist.experiment.metrics import HeldOut
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.scorers import resolve_metrics
from skinmnist.list import main
from skinmnist.names import GROUPS, find_plugins

CODE = """
from imblearn.over_sampling import RandomOverSampler
from sklearn.tree import DecisionTreeClassifier

class TinyTree(DecisionTreeClassifier):
    '''A tree of one split.'''
    def __init__(self, max_depth=1, random_state=None):
        super().__init__(max_depth=max_depth, random_state=random_state)

copies = RandomOverSampler()

def share_of_first(y_true, y_pred):
    '''Share of pictures that are called the first class.'''
    return float((y_pred == "a").mean())

def mean_confidence(y_true, y_prob):
    return y_prob.max(axis=1).mean()
"""
DECLARED = """
[skinmnist.samplers]
Copies = tinyplugin:copies
Broken = tinyplugin:missing
[skinmnist.models]
TinyTree = tinyplugin:TinyTree
[skinmnist.metrics]
first_share = tinyplugin:share_of_first
confidence = tinyplugin:mean_confidence
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with plugins on the path; returns its folder."""
    (tmp_path / "tinyplugin.py").write_text(CODE)
    folder = tmp_path / "tinyplugin-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tinyplugin\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text(DECLARED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield tmp_path
    sys.modules.pop("tinyplugin", None)


@pytest.mark.parametrize("kind", GROUPS)
def test_without_plugins_there_are_none(kind):
    assert find_plugins(kind) == {}


def test_a_plugin_goes_by_its_name_whatever_its_case(installed):
    assert [*resolve_models(["tinytree"])] == ["TinyTree"]
    assert [*resolve_samplers(["COPIES"])] == ["Copies"]
    with pytest.raises(InputError, match="unknown model 'tiny_tree'; did you mean 'TinyTree'"):
        resolve_models(["tiny_tree"])


def test_a_broken_plugin_is_named_in_one_sentence_and_breaks_nothing_else(installed):
    with pytest.raises(
        InputError, match=r"^the sampler 'Broken' from the package tinyplugin 1.2 cannot be load"
    ):
        resolve_samplers(["broken"])
    assert [*resolve_samplers(["none", "copies"])] == ["none", "Copies"]


def test_its_cells_go_stale_with_its_code_and_with_its_version(installed):
    seen = [resolve_models(["TinyTree"])["TinyTree"].fingerprint]
    assert resolve_models(["TinyTree"])["TinyTree"].fingerprint == seen[0]
    with (installed / "tinyplugin.py").open("a") as file:
        file.write("HELPER = 1\n")
    seen.append(resolve_models(["TinyTree"])["TinyTree"].fingerprint)
    (installed / "tinyplugin-1.2.dist-info" / "METADATA").write_text("Name: tinyplugin\nVersion: 1.3\n")
    seen.append(resolve_models(["TinyTree"])["TinyTree"].fingerprint)
    assert len(set(seen)) == 3


def test_metrics_are_of_decisions_or_of_probabilities(installed):
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.75, 0.0]])
    held_out = HeldOut(np.array([0, 1]), np.array([0, 1]), probabilities)
    found = resolve_metrics(["FIRST_SHARE", "confidence"], ["a", "b", "c"])
    values = {name: metric.compute(held_out) for name, metric in found.items()}
    assert values == {"first_share": 0.5, "confidence": 0.625}
    assert found["first_share"].title == "Share of pictures that are called the first class."


def test_they_are_listed_and_what_is_broken_is_named(installed, capsys):
    for kind, line in {
        "models": "TinyTree +A tree of one split; of tinyplugin 1.2",
        "metrics": "first_share +Share of pictures that are called the first class; of tinyplugin 1.2",
        "samplers": "Copies +.*; of tinyplugin 1.2",
    }.items():
        assert main([kind]) == 0
        printed = capsys.readouterr()
        assert re.search(line, printed.out)
        broken = printed.err.splitlines()
        assert len(broken) == (kind == "samplers")
        assert all(
            "the sampler 'Broken' from the package tinyplugin 1.2 cannot be loaded" in one for one in broken
        )


def test_of_two_plugins_of_one_name_the_first_counts_and_a_note_says_so(installed, tmp_path, capsys, lesions):
    folder = tmp_path / "another-0.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 0.5\n")
    (folder / "entry_points.txt").write_text("[skinmnist.models]\nTinyTree = tinyplugin:TinyTree\n")
    note = (
        "the model 'TinyTree' is that of another 0.5; tinyplugin 1.2 declares one of the same name, which "
        "does not count"
    )
    assert main(["models"]) == 0
    printed = capsys.readouterr()
    assert "of another 0.5" in printed.out
    assert printed.err == f"note: {note}\n"
    assert note in make_plan(lesions, ["none"], ["TinyTree"], 2, 1, None, 0, None).notes
    assert note not in make_plan(lesions, ["none"], ["dummy"], 2, 1, None, 0, None).notes


def test_help_does_not_look_for_plugins(monkeypatch, capsys):
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    with pytest.raises(SystemExit):
        compare.main(["--help"])
    assert "usage" in capsys.readouterr().out


def test_a_run_goes_by_plugins_and_finds_its_cells_again(installed, tmp_path, lesions):
    def run():
        return run_comparison(
            lesions, ["Copies"], ["TinyTree"], metrics="confidence", folds=2, jobs=1, out=tmp_path / "run"
        )

    first = run()
    assert not first.failures
    assert set(first.scores["model"]) == {"TinyTree"}
    assert (first.scores["metric"] == "confidence").sum() == 2
    assert sum(session.new_cells for session in run().info.sessions) == 2
