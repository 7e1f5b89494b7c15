"""Thumbnails of the real pictures: the rows that the table has, and the same answers from file and memory."""

import numpy as np
import pytest

from skinmnist import load_hmnist
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.datasets.table import sample_rows
from skinmnist.experiment.train_model import train_model
from skinmnist.inference.classifier import Classifier
from skinmnist.inference.model_file import decode_model


@pytest.mark.parametrize("size", [8, 28])
def test_file_and_model_in_memory_agree_on_thumbnails(size, real_tables):
    paths = sorted((real_tables / "images").glob("*.jpg"))
    if not paths:
        pytest.skip("no thumbnails lie beside the real tables, in images/")
    table = load_hmnist(real_tables / f"hmnist_{size}_{size}_RGB.csv")
    places = {name: row for row, name in enumerate(table.image_ids.tolist())}
    rows = table.pixels[[places[path.stem] for path in paths]]
    seen = np.stack([picture_row(open_picture(path), table.shape) for path in paths])
    np.testing.assert_array_equal(seen, rows)
    model = train_model(table.take(sample_rows(table, 300)), "cnn_tiny")
    found = Classifier(decode_model(model.content)).classify_many(paths)
    shares = np.array([list(prediction.probabilities.values()) for prediction in found])
    np.testing.assert_allclose(shares, model.predict_proba(rows), atol=1e-6, rtol=0)
    assert not any("synthetic pictures" in warning for one in found for warning in one.warnings)
