"""The slips that a beginner is most likely to make, at the command and in Python: one sentence mends each."""

# ruff: noqa: E501 (the sentences stand whole)

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from PIL import Image
from sklearn.svm import SVC

import skinmnist
from skinmnist import PixelTable, load_hmnist, read_run, run_comparison, train_model
from skinmnist.__main__ import main
from skinmnist.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch, lesions):
    """A folder with a table, its metadata, a picture, a folder of pictures, and what looks like a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["skinmnist"])
    rows = np.column_stack([lesions.pixels, lesions.labels])
    header = ",".join([*(f"pixel{column:04d}" for column in range(192)), "label"])
    np.savetxt("table.csv", rows, fmt="%d", delimiter=",", header=header, comments="")
    (tmp_path / "metadata.csv").write_text("lesion_id,image_id,dx\nL1,I1,nv\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "pictures").mkdir()
    for name in ("lesion.png", "pictures/a.png"):
        Image.fromarray(lesions.pixels[0].reshape(lesions.shape)).save(name)
    return tmp_path


#: What is typed after `skinmnist`, and the whole sentence.
TYPED = {
    "compar table.csv": "unknown command 'compar'; did you mean 'compare'? (`skinmnist --help` shows all)",
    "--quick": "received '--quick' without a command; name one first, as in `skinmnist compare --quick`",
    "table.csv": "received 'table.csv' without a command; name one first, as in `skinmnist compare table.csv`",
    "compare tabel.csv": "tabel.csv does not exist; expected a CSV file; did you mean table.csv?",
    "compare run": "run is a folder; expected a CSV file, so name the table of this run; `skinmnist report run` writes its report again",
    "compare pictures": "pictures is a folder; expected a CSV file, so make a table from its pictures: `skinmnist build pictures --out table.csv`",
    "compare lesion.png": "lesion.png is a picture; expected a CSV file of pixels: `skinmnist build FOLDER --out table.csv` makes one from pictures, and `skinmnist predict MODEL IMAGE` classifies one",
    "compare metadata.csv": "metadata.csv is metadata and holds no pixels; name the pixel table instead, and pass this file to --metadata",
    "compare table.csv metadata.csv": "received 'metadata.csv', which belongs to no option; for the table's metadata, write --metadata metadata.csv",
    "compare table.csv --metadata table.csv": "table.csv is a pixel table, not metadata; name it as the table, and pass a file with lesion_id, image_id, dx to --metadata",
    "compare table.csv --samplers SMOT": "unknown sampler 'SMOT'; did you mean 'SMOTE'? (`skinmnist list samplers` shows all)",
    "compare table.csv --samplers smote,adasyn": "received 'smote,adasyn' as one sampler; separate the names with spaces (--samplers SMOTE ADASYN), in Python as a list (['SMOTE', 'ADASYN'])",
    "compare table.csv --samplers svm": "'svm' is a model, not a sampler; move it to the models",
    "compare --samplers SMOTE table.csv": "received the file 'table.csv' as a sampler; name a table before the options, as in `skinmnist compare TABLE.csv --samplers none SMOTE`",
    "compare table.csv --models sklearn.svm.SVC": "unknown model 'sklearn.svm.SVC'; write a colon before the class: sklearn.svm:SVC",
    "compare table.csv --models xgboost": "unknown model 'xgboost'; expected package.module:Class, or a name that `skinmnist list models` shows",
    "compare table.csv --model svm": "unknown option '--model'; did you mean '--models'? (`skinmnist compare --help` shows all)",
    "compare table.csv quick": "received 'quick', which belongs to no option; did you mean '--quick'?",
    "compare table.csv --folds five": "--folds takes a whole number, received 'five'",
    "compare table.csv --folds 1 --samplers none --models dummy": "received 1 folds; expected 2 to 100, or the split holdout for one training and one test part",
    "compare table.csv --seed x": "--seed takes a whole number, received 'x'",
    "compare table.csv --out lesion.png --samplers none --models dummy --folds 2": "lesion.png is a file; expected a folder for the run, so name one with --out",
    "compare table.csv --costs costs.csv": "the cost file costs.csv cannot be read (No such file or directory); `skinmnist list costs` shows its forms",
    "compare table.csv --costs table.csv": "table.csv names the class 'pixel0001', which the table does not have; expected class_0, class_1, class_2, class_3, class_4, class_5, class_6",
    "compare table.csv --conformal 90": "received 90.0 as the share of conformal sets that may miss the right class; expected a number above 0 and at most 0.5, such as 0.1 for sets that hold it in 90 of 100 pictures",
    "predict lesion.png": "received no IMAGE; expected as in `skinmnist predict model.skm lesion.jpg`",
    "predict lesion.png model.skm": "lesion.png is a picture; name a model file first, as in `skinmnist predict model.skm lesion.png`",
    "report run/run.json": "run/run.json is a file; expected the folder of a run, so name that, such as run",
    "preset kfold_cnn": "unknown action 'kfold_cnn' (expected one of run, describe, as in `skinmnist preset describe kfold_cnn`)",
    "preset run kfold": "unknown preset 'kfold'; did you mean 'kfold_cnn'? (`skinmnist list presets` shows all)",
    "build pictures": "received neither --out nor --kaggle; expected as in `skinmnist build pictures --out table.csv`",
    "build pictures --kaggle k --out a.csv": "received --kaggle and --out; expected one of them, so drop the other",
    "preset": "received no action; expected as in `skinmnist preset describe kfold_cnn`",
    "list sample": "unknown kind 'sample'; did you mean 'samplers'? (`skinmnist list` shows all)",
}


@pytest.mark.parametrize("typed", TYPED)
def test_a_slip_at_the_command_is_mended_by_one_sentence(typed, folder, capsys):
    try:
        code = main(typed.split())
    except SystemExit as leaving:
        code = leaving.code
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert (code, complaint) == (2, f"skinmnist: {TYPED[typed]}")


def compare(table, samplers=("none",), models=("dummy",), **arguments):
    return run_comparison(table, samplers, models, **arguments)


#: What is written in Python, with a table T, its pixels X and the names y of its labels; and the whole sentence.
WRITTEN = {
    "compare('table.csv')": "received the path 'table.csv'; expected a PixelTable, (X, y) or (X, y, groups): read the file with load_hmnist(path)",
    "run_comparison(X, y)": "received an array of shape (360, 192) without labels; expected a PixelTable, (X, y) or (X, y, groups): pass both as a tuple, as in run_comparison((X, y))",
    "compare((y, X))": "X is not numeric but holds 'nv'; expected pixels or pictures: open files with PIL.Image.open",
    "compare((X, y[:5]))": "received 360 pictures and 5 labels; expected one label per picture",
    "compare(T, 'SMOTE,ADASYN')": "received 'SMOTE,ADASYN' as one sampler; separate the names with spaces (--samplers SMOTE ADASYN), in Python as a list (['SMOTE', 'ADASYN'])",
    "compare(T, models=[SVC])": "received the class SVC as a model; pass an instance, such as SVC(), or a name",
    "compare(T, {'mine': SMOTE})": "received the class SMOTE as a sampler; pass an instance, such as SMOTE(), or a name",
    "compare(T, [SVC()])": "received the model SVC() as a sampler; move it to the models",
    "compare(T, models=[SMOTE()])": "received the sampler SMOTE() as a model; move it to the samplers",
    "compare(T, models=['SMOTE'])": "'SMOTE' is a sampler, not a model; move it to the samplers",
    "compare(T, models=[['svm', 'cnn']])": "received ['svm', 'cnn'] among the models; expected names or objects, so give one flat list",
    "compare(T, 3)": "received 3 as samplers; expected a list of names or objects",
    "compare(T, folds='5')": "received folds='5'; expected a whole number",
    "compare(T, seed='x')": "received seed='x'; expected a whole number",
    "compare(T, jobs='all')": "received jobs='all'; expected a whole number",
    "compare(T, split='lesions')": "unknown split 'lesions'; did you mean 'lesion'?",
    "PixelTable.from_arrays(X, np.eye(7)[T.labels])": "received y of shape (360, 7); expected one label per picture, such as y.argmax(axis=1) of one-hot rows",
    "PixelTable.from_arrays(X, T.labels + 0.5)": "received the label 4.5; expected classes: names or whole numbers",
    "PixelTable.from_arrays(X / 255 - 1, y)": "X holds negative values (-0.988235 to 0); expected pixels of 0-1 or 0-255, so undo the standardisation",
    "PixelTable.from_arrays(X, y, shape='8x8')": "received shape='8x8'; expected (height, width, channels)",
    "PixelTable.from_arrays(X, 'dx')": "received y='dx'; expected one per picture: only a data frame has named columns",
    "PixelTable.from_arrays(X, T.labels, class_names=[*'aabcdef'])": "received 'a' twice in class_names; give each class a different name",
    "PixelTable.from_arrays(X, T.labels, class_names={0: 'a'})": "received class_names={0: 'a'}; expected a list with one name per class",
    "PixelTable.from_arrays(pd.DataFrame(X).assign(label=y), 'lable')": "received the column 'lable', which is not in the data frame; did you mean 'label'?",
    "compare(T, out=3)": "received an object of int; expected the path of a run folder",
    "train_model(T, seed=1, random_state=2)": "received seed=1 and random_state=2, which are one argument; pass only one",
    "PixelTable.from_arrays(X, y, shape=8)": "received shape=8; expected (height, width, channels)",
    "PixelTable.from_arrays(X, y, groups=[1, 2])": "received 2 groups for 360 pictures; expected one per picture",
    "load_hmnist('tabel.csv')": "tabel.csv does not exist; expected a CSV file; did you mean table.csv?",
    "read_run('run/run.json')": "run/run.json is a file; expected the folder of a run, so name that, such as run",
    "train_model('table.csv', 'svm')": "received the path 'table.csv'; expected a PixelTable, (X, y) or (X, y, groups): read the file with load_hmnist(path)",
    "train_model(X)": "received an array of shape (360, 192) without labels; expected a PixelTable, (X, y) or (X, y, groups): pass both as a tuple, as in train_model((X, y))",
    "load_hmnist(T)": "received a PixelTable, which is loaded already; use it as it is",
    "load_hmnist(X)": "received an object of ndarray; expected the path of a CSV file; PixelTable.from_arrays takes arrays",
    "read_run(T)": "received an object of PixelTable; expected the path of a run folder",
    "classify_image('lesion.png', X)": "received an object of ndarray; expected the path of a model file, or a Classifier",
    "compare(T, metrics='max_error')": "unknown metric 'max_error'; expected a function f(y_true, y_pred), or a name that `skinmnist list metrics` shows",
    "compare(T, clinical='Agee')": "received the clinical column 'Agee'; expected columns in the metadata of table 'synthetic': age, sex, localization; did you mean 'age'?",
    "train_model(T, 'dummy', cv=5)": "received cv=5; expected the result of run_comparison on this table",
    "train_model(T, 'smote')": "'SMOTE' is a sampler, not a model; move it to the samplers",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_a_slip_in_python_is_mended_by_one_sentence(written, folder, lesions):
    names = {
        "T": lesions,
        "X": np.asarray(lesions.pixels),
        "y": np.array(lesions.class_names)[lesions.labels],
    }
    here = {
        **names,
        "np": np,
        "pd": pd,
        "SVC": SVC,
        "SMOTE": SMOTE,
        "PixelTable": PixelTable,
        "classify_image": skinmnist.classify_image,
        "compare": compare,
        "run_comparison": run_comparison,
        "load_hmnist": load_hmnist,
        "read_run": read_run,
        "train_model": train_model,
    }
    with pytest.raises(InputError) as caught:
        eval(written, here)
    assert str(caught.value) == WRITTEN[written]


def test_what_is_understood_anyway(lesions):
    """Wrong case, and labels as a column: nothing to mend."""
    column = PixelTable.from_arrays(np.asarray(lesions.pixels), lesions.labels[:, None])
    np.testing.assert_array_equal(column.labels, lesions.labels)
    assert main(["LIST", "Samplers"]) == 0


def test_a_missing_extra_is_named_with_its_command(folder, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["serve"]) == 2
    needed = "the page needs starlette and uvicorn; install the extra 'web': pip install 'skinmnist[web]'"
    assert capsys.readouterr().err == f"skinmnist: {needed}\n"


def test_a_misspelt_public_name_is_corrected_by_python():
    code = "import skinmnist; skinmnist.run_comparision"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.endswith(
        "AttributeError: module 'skinmnist' has no attribute 'run_comparision'. "
        "Did you mean: 'run_comparison'?\n"
    )
    assert skinmnist.run_comparison is run_comparison
