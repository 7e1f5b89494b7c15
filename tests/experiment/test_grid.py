import importlib
import sys
import threading

import numpy as np
import pytest
from imblearn import FunctionSampler
from imblearn.over_sampling import SMOTE
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skinmnist import names
from skinmnist.decisions.estimators import PriorCorrection
from skinmnist.errors import InputError
from skinmnist.experiment import grid
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Task, fit_cell
from skinmnist.experiment.grid import plan_cells, resolve_models, resolve_samplers
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import ModelSpec, Setting
from skinmnist.resampling.registry import Resampler

SETTING = Setting((8, 8, 3), 7, 100, 5)


def test_names_of_the_registries():
    assert resolve_models(["svm", "dummy"]) == {"svm": MODELS["svm"], "dummy": MODELS["dummy"]}
    samplers = resolve_samplers(["none", "class_weight", "SMOTE"])
    assert samplers["none"].factory is samplers["class_weight"].factory is None
    assert samplers["SMOTE"].factory(3).random_state == 3


def test_objects_of_the_users_own_are_copied_and_seeded():
    tree = DecisionTreeClassifier(max_depth=2)
    spec = resolve_models({"tree": tree})["tree"]
    made = spec.classifier(SETTING)
    assert made is not tree
    assert (made.max_depth, made.random_state) == (2, 5)
    assert tree.random_state is None
    assert spec.weights
    sampler = resolve_samplers({"mine": SMOTE(k_neighbors=3)})["mine"].factory(8)
    assert (sampler.k_neighbors, sampler.random_state) == (3, 8)


def test_a_seed_of_the_users_own_is_kept():
    spec = resolve_models({"tree": DecisionTreeClassifier(random_state=42)})["tree"]
    assert spec.classifier(SETTING).random_state == 42


def test_nested_seeds_are_set():
    pipeline = make_pipeline(StandardScaler(), DecisionTreeClassifier())
    made = resolve_models({"p": pipeline})["p"].classifier(SETTING)
    assert made.named_steps["decisiontreeclassifier"].random_state == 5


def test_registered_names_under_another_name_are_planned_and_told_apart():
    samplers = resolve_samplers({"plain": "none", "mine": "SMOTE", "other": "ADASYN"})
    models = resolve_models({"base": "dummy", "line": "logistic_regression"})
    cells, notes = plan_cells(samplers, models, 1, 2)
    assert len(cells) == 3 * 2 * 2
    assert not notes
    assert len({entry.fingerprint for entry in (*samplers.values(), *models.values())}) == 5
    assert {entry.fingerprint for entry in resolve_samplers(["none", "SMOTE"]).values()} == {""}
    assert resolve_models(["dummy"])["dummy"].fingerprint == ""


def test_scores_without_probabilities_are_calibrated(lesions):
    ridge = make_pipeline(StandardScaler(), RidgeClassifier(alpha=100))
    models, folds = resolve_models({"ridge": ridge}), np.arange(360, dtype=np.int8)[None] % 3
    task = Task(folds, False, models, resolve_samplers(["none"]), 0)
    result = fit_cell(Cell("none", "ridge", 0, 0), lesions, task)
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1)


def test_import_by_name():
    spec = resolve_models(["sklearn.linear_model:LogisticRegression"])["LogisticRegression"]
    assert isinstance(spec.classifier(SETTING), LogisticRegression)
    sampler = resolve_samplers(["imblearn.over_sampling:SMOTE"])["SMOTE"]
    assert sampler.factory(1).random_state == 1


def test_fingerprints_tell_settings_apart():
    one, same, other = (
        resolve_models({"t": DecisionTreeClassifier(max_depth=depth)})["t"].fingerprint for depth in (1, 1, 2)
    )
    assert one == same != other


OWN_CODE = {
    "owned_estimators/__init__.py": "",
    "owned_estimators/trees.py": """
from sklearn.tree import DecisionTreeClassifier
import json, owned_depths as depths
class Tree(DecisionTreeClassifier):
    pass
def build(setting):
    return Tree(max_depth=depths.DEPTH)
def halve(X, y):
    return X[::2], y[::2]
""",
    "owned_estimators/leaves.py": "",
    "owned_depths.py": "from owned_units import DEPTH\n",
    "owned_units.py": "DEPTH = 2\n",
    "owned_plots.py": "",
}


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """Modules of a user on the path; returns their folder and the one with the estimators."""
    for name, code in OWN_CODE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path, importlib.import_module("owned_estimators.trees")
    for name in [name for name in sys.modules if name.startswith("owned_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("resolve", "of_code"),
    [
        (resolve_models, lambda code: code.Tree()),
        (resolve_models, lambda code: make_pipeline(StandardScaler(), code.Tree())),
        (resolve_models, lambda code: BaggingClassifier(code.Tree())),
        (resolve_models, lambda code: ModelSpec("tree", code.build)),
        (resolve_models, lambda code: "owned_estimators.trees:Tree"),
        (resolve_samplers, lambda code: FunctionSampler(func=code.halve)),
        (resolve_samplers, lambda code: Resampler("tree", code.build)),
    ],
    ids=["object", "pipeline", "meta-estimator", "spec", "import", "sampler", "resampler"],
)
def test_fingerprints_tell_all_code_of_the_user_apart(own_code, resolve, of_code):
    folder, code = own_code

    def fingerprint():
        return resolve({"own": of_code(code)})["own"].fingerprint

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    for name in OWN_CODE:
        with (folder / name).open("a") as file:
            file.write("MORE = 1\n")
        seen.append(fingerprint())
    assert seen.pop() == seen[-1]  # Nothing imports the plots.
    assert len({*seen}) == len(OWN_CODE)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("try: import owned_units\nexcept ImportError: pass", True),
        ("import json; import owned_units", True),
        ("import json, \\\n  owned_units as units", True),
        ("from owned_units \\\n  import DEPTH", True),
        ("from owned_units import(DEPTH)", True),
        ("def depth():\n\timport owned_units", True),
        ("'\\d'; import owned_units", True),
        ("'''\nimport owned_units\n'''", False),
        ("from .owned_units import DEPTH", False),
        ("import owned_units\n(", False),
        ("import owned_units\n\0", False),
    ],
)
def test_fingerprints_follow_the_import_statements_of_own_code(own_code, source, found):
    folder, code = own_code
    (folder / "owned_depths.py").write_text(source)
    before = resolve_models({"own": code.Tree()})["own"].fingerprint
    (folder / "owned_units.py").write_text("DEPTH = 3\n")
    assert (resolve_models({"own": code.Tree()})["own"].fingerprint != before) == found


def test_all_models_share_the_parsed_code_of_the_user(own_code):
    _, code = own_code
    resolve_models({"own": code.Tree()})
    parsed = grid._imported_by.cache_info().misses
    resolve_models({"own": code.Tree(), "other": code.Tree(max_depth=2)})
    assert grid._imported_by.cache_info().misses == parsed


def test_fingerprints_tell_versions_of_installed_packages_apart(own_code, monkeypatch):
    _, code = own_code
    found = resolve_models({"own": code.Tree()})["own"].fingerprint
    installed = grid.installed_version("sklearn")
    assert installed.startswith("scikit-learn ")
    others = {"sklearn": f"{installed}.post1"}
    monkeypatch.setattr(grid, "installed_version", lambda package: others.get(package, ""))
    assert resolve_models({"own": code.Tree()})["own"].fingerprint != found


@pytest.mark.parametrize("about", [None, "owned_loose.egg-info/PKG-INFO", "owned_loose-1.dist-info/METADATA"])
@pytest.mark.parametrize("kind", ["site-packages", "target"])
def test_only_the_versions_of_installed_packages_stand_for_their_code(own_code, monkeypatch, kind, about):
    # Loose modules have no metadata; setuptools leaves PKG-INFO in the source tree of an editable package.
    module = own_code[0] / kind / "owned_loose.py"
    module.parent.mkdir()
    module.write_text("def halve(X, y):\n    return X[::2], y[::2]\n")
    monkeypatch.syspath_prepend(module.parent)
    if about:
        (module.parent / about).parent.mkdir()
        (module.parent / about).write_text("Metadata-Version: 2.1\nName: owned-loose\nVersion: 1\n")
        found = names._distributions() | {"owned_loose": ["owned-loose"]}
        monkeypatch.setattr(names, "_distributions", lambda: found)
    sampler = FunctionSampler(func=importlib.import_module("owned_loose").halve)
    before = resolve_samplers({"own": sampler})["own"].fingerprint
    module.write_text(module.read_text() + "MORE = 1\n")
    after = resolve_samplers({"own": sampler})["own"].fingerprint
    assert (before == after) == (about is not None and about.endswith("METADATA"))


SCRIPT = """
from sklearn.tree import DecisionTreeClassifier
def depth():
    return 2
class Tree(DecisionTreeClassifier):
    def fit(self, X, y, sample_weight=None):
        self.even_ = depth() in {0, 8}
        return super().fit(X, y, sample_weight)
"""


def of_script(code, file="script.py", classes=(0, 8)):
    defined = {"__name__": "a_script", "__file__": file}
    exec(compile(code, file, "exec"), defined)
    model = defined["Tree"](class_weight={"rare": {*classes}})
    return resolve_models({"own": model})["own"].fingerprint


@pytest.mark.parametrize(
    "again",
    [
        {"code": SCRIPT},
        {"code": "\n" + SCRIPT, "file": "/tmp/ipykernel_7/1.py"},
        {"code": SCRIPT.replace("{0, 8}", "{8, 0}"), "classes": (8, 0)},
    ],
    ids=["class id", "place", "order of sets"],
)
def test_fingerprints_of_a_script_are_those_of_its_next_process(again):
    assert of_script(SCRIPT) == of_script(**again)


@pytest.mark.parametrize(
    "again",
    [
        {"code": SCRIPT.replace("return 2", "return 3")},
        {"code": SCRIPT.replace("{0, 8}", "{0, 9}")},
        {"code": SCRIPT.replace("even_", "odd_")},
        {"code": SCRIPT, "classes": (0, 9)},
    ],
    ids=["function", "constant", "method", "setting"],
)
def test_fingerprints_tell_code_of_a_script_apart(again):
    assert of_script(SCRIPT) != of_script(**again)


def test_fingerprints_tell_code_of_this_package_apart(monkeypatch):
    # What the user wraps around a model may be code that no other cell runs.
    corrected = PriorCorrection(DecisionTreeClassifier())
    seen = []
    monkeypatch.setattr(grid, "code_digest", lambda *modules: seen.append(modules) or "")
    resolve_models({"own": corrected})
    assert "skinmnist.decisions.estimators" in seen[0]


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        (["swm"], "unknown model 'swm'; did you mean 'svm'"),
        ([], "received no model; name at least one"),
        (["svm", "svm"], "received the model 'svm' twice"),
        (["nowhere.at.all:Model"], "received model 'nowhere.at.all:Model', which cannot be instantiated"),
        (["sklearn.tree:Oak"], "which cannot be instantiated"),
        (["sklearn.tree:decisiontreeclassifier"], "did you mean 'sklearn.tree:DecisionTreeClassifier'"),
        (["tree.py:Oak"], "leave out .py: tree:Oak"),
        (["models/tree.py"], "name a class in it: tree:CLASS"),
        (["sklearn.SVC"], "unknown model 'sklearn.SVC'; expected package.module:Class"),
        ({"x": object()}, "received an object of object as model 'x'"),
        ({"x": DecisionTreeClassifier}, r"such as DecisionTreeClassifier\(\), or a name"),
        ({"x": 3}, "received 3 as model 'x'"),
        ({"x": SMOTE()}, "received the sampler .* as a model; move it to the samplers"),
        ({"": "svm"}, "received '' as the name of a model"),
    ],
)
def test_bad_models(models, sentence):
    with pytest.raises(InputError, match=sentence):
        resolve_models(models)


@pytest.mark.parametrize("asked", [["Balanced_softmax"], ["balanced_softmax", "logit_adjusted_loss"]])
def test_an_alias_is_the_row_that_it_names(asked):
    found = resolve_samplers(asked)
    assert [*found] == ["logit_adjusted_loss"]
    note = "balanced_softmax is another name of logit_adjusted_loss, so its row has that name"
    assert found["logit_adjusted_loss"].note == note
    assert resolve_samplers({"mine": "balanced_softmax"})["mine"].name == "logit_adjusted_loss"


def test_groups_and_sweeps_are_expanded_once():
    found = resolve_samplers(["sweep:smote", "SMOTE", "smote@.5", "none"])
    assert {*found} == {"none", "SMOTE@0.25", "SMOTE@0.5", "SMOTE@0.75", "SMOTE"}
    cells, _ = plan_cells(found, resolve_models(["dummy"]), repeats=1, folds=1)
    assert [cell.sampler for cell in cells] == ["none", "SMOTE@0.25", "SMOTE@0.5", "SMOTE@0.75", "SMOTE"]
    assert "sqrt_batches" in resolve_samplers("modern")
    assert resolve_samplers({"half": "SMOTE@0.5"})["half"].factory(0).sampling_strategy.share == 0.5
    with pytest.raises(InputError, match=r"received the sampler 'SMOTE@0\.5' twice"):
        resolve_samplers(["SMOTE@0.5", "smote@.5"])


def test_what_cannot_be_sent_to_a_worker_is_refused():
    tree = DecisionTreeClassifier()
    tree.set_params(class_weight={0: threading.Lock()})
    with pytest.raises(InputError, match=r"'tree' .* cannot be sent to a worker process"):
        resolve_models({"tree": tree})


def test_a_module_that_raises_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("def oops(:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="which cannot be instantiated"):
        resolve_models(["broken_module:Model"])


def test_a_model_with_no_scores_at_all():
    class Silent(NearestCentroid):
        predict_proba = decision_function = property()

    with pytest.raises(InputError, match="has neither predict_proba nor decision_function"):
        resolve_models({"silent": Silent()})


@pytest.mark.parametrize(
    ("samplers", "sentence"),
    [
        (["SMOT"], "unknown sampler 'SMOT'; did you mean 'SMOTE'"),
        ({"x": StandardScaler()}, "expected a name or an imbalanced-learn sampler object"),
        (["imblearn.over_sampling:Nope"], "which cannot be instantiated"),
    ],
)
def test_bad_samplers(samplers, sentence):
    with pytest.raises(InputError, match=sentence):
        resolve_samplers(samplers)


def test_grid_is_the_cross_and_its_order_is_not_that_of_asking():
    def plan(samplers, models):
        return plan_cells(resolve_samplers(samplers), resolve_models(models), repeats=2, folds=3)[0]

    cells = plan(["none", "SMOTE"], ["svm", "dummy"])
    assert len(cells) == len(set(cells)) == 2 * 2 * 2 * 3
    assert cells == plan(["SMOTE", "none"], ["dummy", "svm"])
    assert cells[0] == Cell("none", "svm", 0, 0)


def test_what_a_model_cannot_take_is_not_planned_but_noted():
    samplers = resolve_samplers(["none", "class_weight", "focal_loss"])
    cells, notes = plan_cells(samplers, resolve_models(["dummy", "svm", "cnn"]), repeats=1, folds=2)
    assert {cell[:2] for cell in cells} == {
        *(("none", model) for model in ("dummy", "svm", "cnn")),
        *(("class_weight", model) for model in ("svm", "cnn")),
        ("focal_loss", "cnn"),
    }
    assert notes == [
        "class_weight, focal_loss with dummy are not planned: dummy cannot take them",
        "focal_loss with svm is not planned: svm cannot take it",
    ]
