import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from skinmnist import facts
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.errors import InputError
from skinmnist.inference.classifier import SYNTHETIC_WARNING, classify_image, load_classifier
from skinmnist.inference.prediction import Prediction


@pytest.fixture
def picture() -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))


def as_png(picture):
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def test_a_prediction_has_what_predict_proba_returns(classifier, picture):
    found = classifier.classify(picture)
    row = picture_row(open_picture(picture), classifier.shape)
    expected = classifier.predict_proba(row[None])[0]
    assert list(found.probabilities) == list(classifier.class_names)
    np.testing.assert_array_equal(list(found.probabilities.values()), expected)
    assert found.label == classifier.class_names[expected.argmax()]
    assert found.name == facts.CLASS_TITLES[found.label]
    assert found.probability == expected.max()
    np.testing.assert_array_equal(found.pixels.ravel(), row)


def test_path_bytes_picture_and_array_are_the_same(classifier, picture, tmp_path):
    (tmp_path / "a.png").write_bytes(as_png(picture))
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), as_png(picture), picture, np.asarray(picture)]
    found = [classifier.classify(kind).probabilities for kind in kinds]
    assert all(one == found[0] for one in found)


def test_many_pictures_go_on_after_a_broken_one(classifier, picture, monkeypatch):
    monkeypatch.setattr("skinmnist.inference.classifier.CHUNK_PICTURES", 2)
    found = classifier.classify_many([picture, b"broken", picture, picture, b""])
    assert [isinstance(one, InputError) for one in found] == [False, True, False, False, True]
    assert isinstance(found[3], Prediction)
    np.testing.assert_allclose(
        list(found[3].probabilities.values()), list(found[0].probabilities.values()), atol=1e-6
    )


def test_synthetic_training_comes_with_every_answer(classifier, picture):
    assert SYNTHETIC_WARNING in classifier.classify(picture).warnings
    assert SYNTHETIC_WARNING in repr(classifier.classify(picture))


def test_noise_is_unlike_training_pictures(classifier, small_table, picture):
    noise = classifier.classify(picture)
    assert noise.novelty_score > 1
    assert any("unlike" in warning for warning in noise.warnings)
    seen = classifier.classify_many(list(small_table.pixels.reshape(-1, 8, 8, 3)))
    assert np.mean([one.novelty_score > 1 for one in seen]) < 0.1


def test_top_and_dict(classifier, picture):
    found = classifier.classify(picture)
    shares = [share for _, share in found.top(7)]
    assert shares == sorted(found.probabilities.values(), reverse=True)
    assert found.top(1) == [(found.label, found.probability)]
    content = json.loads(json.dumps(found.to_dict(2)))
    assert content["label"] == found.label
    assert (content["answer"], content["undecided"]) == (found.answer, len(content["candidates"]) > 1)
    assert [one["label"] for one in content["top"]] == [label for label, _ in found.top(2)]
    assert content["notice"] == facts.DISCLAIMER


def test_notebooks_show_names_escaped(picture):
    pixels = np.zeros((8, 8, 3), np.uint8)
    odd = Prediction("<b>", "<i>", 1.0, {"<b>": 1.0}, {"<b>": "<i>"}, ("<u>",), None, pixels)
    shown = odd._repr_html_()
    assert "<i>" not in shown
    assert "<u>" not in shown
    assert "(<b>)" not in shown
    assert "&lt;i&gt;" in shown


@pytest.mark.parametrize("rows", [np.zeros((2, 5), np.uint8), np.zeros((2, 192)), np.zeros(192, np.uint8)])
def test_wrong_rows(classifier, rows):
    with pytest.raises(InputError, match=r"expected \(n, 192\) of uint8"):
        classifier.predict_proba(rows)


def test_no_rows(classifier):
    assert classifier.predict_proba(np.empty((0, 192), np.uint8)).shape == (0, 7)


def test_explanation_is_a_large_picture(classifier, picture):
    drawn = Image.open(io.BytesIO(classifier.explain_picture(picture)))
    assert (drawn.format, drawn.mode) == ("PNG", "RGB")
    assert min(drawn.size) >= 400
    assert classifier.explain(picture).shape == (8, 8)


def test_classify_image_takes_the_newest_model(tiny, picture, tmp_path, monkeypatch):
    import os

    monkeypatch.setenv("SKINMNIST_MODELS", str(tmp_path / "models"))
    with pytest.raises(InputError, match=r"train one with `skinmnist train`"):
        classify_image(picture)
    (tmp_path / "models").mkdir()
    for age, name in enumerate(("new.skm", "old.skm")):
        (tmp_path / "models" / name).write_bytes(tiny if name == "new.skm" else b"older")
        os.utime(tmp_path / "models" / name, (1000 - age, 1000 - age))
    found = classify_image(picture)
    assert found.label in facts.CLASS_NAMES
    assert classify_image(picture, tmp_path / "models" / "new.skm").probabilities == found.probabilities
    for model in (load_classifier(tmp_path / "models" / "new.skm"), str(tmp_path / "models" / "new.skm")):
        with pytest.raises(InputError, match=r"the picture comes first: classify_image\(picture, model\)"):
            classify_image(model, picture)
    many = classify_image([picture, b""])
    assert isinstance(many[0], Prediction)
    assert isinstance(many[1], InputError)
    assert len(classify_image(np.stack([np.asarray(picture)] * 3))) == 3
    # A file that was written again is read again.
    (tmp_path / "models" / "new.skm").write_bytes(b"changed")
    with pytest.raises(InputError, match="not a usable model file"):
        classify_image(picture)


def predicted(shares, novelty=None):
    names = facts.CLASS_NAMES[: len(shares)]
    titles = {name: facts.CLASS_TITLES[name] for name in names}
    best = names[int(np.argmax(shares))]
    shown = dict(zip(names, shares, strict=True))
    return Prediction(
        best, titles[best], max(shares), shown, titles, (), novelty, np.zeros((8, 8, 3), np.uint8)
    )


@pytest.mark.parametrize(
    ("shares", "answer"),
    [
        ([0.1, 0.8, 0.1], "Basal cell carcinoma"),
        ([0.1, 0.61, 0.29], "Basal cell carcinoma"),
        ([0.1, 0.5, 0.4], "undecided: basal cell carcinoma or benign keratosis"),
        (
            [0.5, 0.25, 0.25],
            "undecided: actinic keratosis / Bowen's disease, basal cell carcinoma or benign keratosis",
        ),
        (
            [0.1, 0.18, 0.18, 0.18, 0.18, 0.18],
            "undecided: basal cell carcinoma, benign keratosis, dermatofibroma or 3 others",
        ),
    ],
)
def test_an_answer_without_a_clear_lead_is_undecided(shares, answer):
    prediction = predicted(shares)
    assert prediction.answer == answer
    assert prediction.undecided == answer.startswith("undecided")
    assert prediction.candidates[0] == prediction.label
    assert set(prediction.candidates) == {
        name for name, share in prediction.probabilities.items() if 2 * share >= max(shares)
    }
    assert answer in repr(prediction)
    assert prediction._repr_html_().count("<tr>") == len(shares)


@pytest.mark.parametrize(
    ("held", "answer"),
    [
        (("bcc",), "Basal cell carcinoma"),
        (("akiec", "bcc"), "one of: basal cell carcinoma or actinic keratosis / Bowen's disease"),
        (
            ("akiec", "bcc", "df", "nv"),
            "one of: basal cell carcinoma, actinic keratosis / Bowen's disease, dermatofibroma or 1 other",
        ),
    ],
)
def test_a_conformal_set_takes_the_place_of_the_half_as_probable(held, answer):
    prediction = replace(predicted([0.3, 0.4, 0.05, 0.2, 0.05]), conformal_set=held, coverage=0.95)
    assert prediction.answer == answer
    assert set(prediction.candidates) == set(held)
    assert prediction.candidates[0] == prediction.label
    assert prediction.undecided == (len(held) > 1)
    promise = "is meant to hold the right class in 95 of 100 pictures of each class"
    classes = list(prediction.candidates)
    assert prediction.to_dict()["set"] == {"classes": classes, "coverage": 0.95, "meaning": promise}
    assert promise in repr(prediction)
    assert promise in prediction._repr_html_()
    assert predicted([0.6, 0.4]).to_dict()["set"] is None


def test_a_picture_out_of_distribution_has_no_answer():
    inside, beyond = (predicted([0.9, 0.1], novelty) for novelty in (1.0, 1.01))
    assert (inside.out_of_distribution, beyond.out_of_distribution) == (False, True)
    assert beyond.answer == "out of distribution"
    assert "Actinic keratosis / Bowen's disease (akiec), 90.0%" in repr(inside)
    assert "90.0%" not in repr(beyond).splitlines()[0]
    assert "opacity" in beyond._repr_html_()
    assert "opacity" not in inside._repr_html_()
