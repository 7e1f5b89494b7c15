"""The stand-in of the other tests promises no more than a trained model keeps."""

import json

import numpy as np
import pytest
from standing_in import Running, speckled

pytest.importorskip("onnxruntime")


def test_a_trained_model_on_the_page(lesions, tmp_path):
    from skinmnist.inference.classifier import load_classifier
    from skinmnist.train import main

    names = ",".join([*(f"pixel{i:04d}" for i in range(192)), "label"])
    rows = np.column_stack([lesions.pixels, lesions.labels])
    np.savetxt(tmp_path / "a.csv", rows, fmt="%d", delimiter=",", header=names, comments="")
    kept = tmp_path / "a.skm"
    assert main([str(tmp_path / "a.csv"), "--model", "logistic_regression", "--out", str(kept)]) == 0
    model = load_classifier(kept)
    with Running(model) as page:
        assert model.title in page.ask()[2].decode()
        status, _, body = page.ask("POST", "/api/classify?pictures=1", speckled())
    told = json.loads(body)
    assert status == 200
    for name in ("seen", "explanation"):
        assert told.pop(name).startswith("data:image/png;base64,")
    assert told == model.classify(speckled()).to_dict()
