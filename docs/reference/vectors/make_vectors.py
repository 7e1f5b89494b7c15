"""Write the test vectors of the model format: two tiny models of drawn pictures, and their answers.

python docs/reference/vectors/make_vectors.py
"""

import json
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from skinmnist import facts, make_lesions
from skinmnist.inference.manifest import PREPROCESSING
from skinmnist.inference.model_file import Answer, decode_model, encode_model
from skinmnist.models.export import Fitted, export_forest, export_linear

FOLDER = Path(__file__).parent
ROWS = 3


def description(table, title, model):
    """Return what a manifest says beside the answer."""
    names = table.class_names
    return {
        "kind": "skinmnist model",
        "title": title,
        "model": model,
        "sampler": "none",
        "seed": 0,
        "shape": list(table.shape),
        "classes": [
            {"code": code, "name": name, "title": facts.CLASS_TITLES[name]} for code, name in enumerate(names)
        ],
        "preprocessing": PREPROCESSING,
        "training": {"table": table.name, "rows": len(table), "synthetic": True},
        "licence": "Trained on pictures drawn by skinmnist, on which nobody has rights.",
        "scores": None,
        "notes": [],
        "versions": {},
        "notice": facts.DISCLAIMER,
    }


def linear(table):
    """Fit the model of ``linear.skm``: pixels, a scale, multinomial logistic regression."""
    rows = table.pixels.astype(np.float32)
    means, scales = rows.mean(axis=0), rows.std(axis=0)
    scaled = np.clip((rows - means) / scales, -5, 5)
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(scaled, table.labels)
    exported = export_linear(Fitted(None, fitted, None, False))
    steps = [{"kind": "standardise", "farthest": 5.0}]
    arrays = {"feature_mean": means, "feature_scale": scales, **exported.arrays}
    return exported.answer | {"steps": steps}, arrays


def forest(table):
    """Fit the model of ``forest.skm``: three trees on pixels."""
    fitted = RandomForestClassifier(3, max_depth=4, random_state=0).fit(table.pixels, table.labels)
    fitted.levels = None
    exported = export_forest(Fitted(None, fitted, None, False))
    return exported.answer, exported.arrays


def main() -> None:
    """Write both models, and ``vectors.json`` with pictures that the forest takes for different classes."""
    table = make_lesions(200, size=4, random_state=0)
    models: dict[str, Answer] = {}
    for name, title, make in (("linear", "Linear", linear), ("forest", "Forest", forest)):
        answer, arrays = make(table)
        content = encode_model(description(table, title, name), answer, arrays, {})
        (FOLDER / f"{name}.skm").write_bytes(content)
        models[f"{name}.skm"] = decode_model(content).answer
    pictures = make_lesions(100, size=4, random_state=1).pixels
    _, first = np.unique(models["forest.skm"](pictures).argmax(axis=1), return_index=True)
    rows = pictures[first[:ROWS]]
    answers = {name: model(rows).round(12).tolist() for name, model in models.items()}
    vectors = {"rows": rows.tolist(), "answers": answers}
    (FOLDER / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
