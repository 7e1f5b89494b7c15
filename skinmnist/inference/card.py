"""The model card: a Markdown summary of a model file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from skinmnist import facts
from skinmnist.inference.manifest import Manifest
from skinmnist.text import printable

#: Maximum number of list entries and of characters per entry; files are untrusted.
_MOST, _LONGEST = 100, 400


def card_of(manifest: Manifest) -> str:
    """Return the model card as Markdown with classes, data, scores, operating point and limitations."""
    return "\n".join(_lines(manifest))


def limits_of(description: dict[str, Any]) -> list[str]:
    """Return the limitations of a model, derived from the description stored in its manifest."""
    training, scores = description["training"], description["scores"]
    names, rows = [one["name"] for one in description["classes"]], training["rows_per_class"]
    height, width, _ = description["shape"]
    rarest = min(range(len(rows)), key=rows.__getitem__)
    limits = [
        f"It knows {len(names)} classes and no others: whatever a picture shows, it divides the "
        "probability among these.",
        f"It sees {height} x {width} pixels; finer structure is lost.",
        f"The rarest class, {names[rarest]}, has {rows[rarest]:,} training pictures of {sum(rows):,}.",
        "It was trained on one table; other cameras, skin types and patients may give other scores.",
    ]
    if training["synthetic"]:
        limits.append("Its training pictures are synthetic: its answers say nothing about real skin.")
    if scores is None:
        limits.append("It was not cross-validated, so it has no scores; use `skinmnist train --cv` for them.")
    else:
        metrics = scores["metrics"]
        recalls = {name: metrics[f"recall_{name}"]["mean"] for name in names if f"recall_{name}" in metrics}
        missed = [f"{name} ({recall:.2f})" for name, recall in recalls.items() if recall < 0.5]
        if missed:
            limits.append(f"It finds fewer than half of the held-out pictures of {', '.join(missed)}.")
    return limits


def _lines(manifest: Manifest) -> Iterator[str]:
    content = manifest.content
    training = _mapping(content.get("training"))
    height, width, channels = manifest.shape
    yield f"# Model card: {_text(manifest.title)}\n"
    yield f"{facts.DISCLAIMER}\n"
    yield f"- Model: `{_text(manifest.model)}`, sampler: `{_text(manifest.sampler)}`"
    yield f"- Input: pictures of {height} × {width} pixels, {channels} channel{'s' * (channels != 1)}"
    versions = _mapping(content.get("versions"))
    if "skinmnist" in versions:
        yield f"- Trained by skinmnist {_text(versions['skinmnist'])}, seed {_text(content.get('seed', '?'))}"
    yield "\n## Classes\n"
    rows = _sequence(training.get("rows_per_class"))
    yield "| class | name | training pictures |\n|---|---|---:|"
    for place, (name, title) in enumerate(zip(manifest.class_names, manifest.full_names, strict=True)):
        yield f"| {_text(name)} | {_text(title)} | {_amount(rows[place]) if place < len(rows) else ''} |"
    yield "\n## Training data\n"
    kind = "synthetic pictures, which show no patients" if manifest.synthetic else "pictures"
    yield f"- Table {_text(training.get('table', '?'))}: {_amount(training.get('rows'))} {kind}"
    if training.get("lesions") is not None:
        yield f"- Lesions: {_amount(training['lesions'])}"
    yield f"- SHA-256 of the content: `{_text(training.get('sha256', '?'))}`"
    if "licence" in content:
        yield f"- {_text(content['licence'])}"
    yield "\n## Scores\n"
    yield from _scores(manifest)
    yield "\n## Operating point\n"
    yield _text(content.get("operating_point", "The file does not say."))
    yield "\n## Limits\n"
    limits = _sequence(content.get("limits")) or ["The file does not say."]
    yield from (f"- {_text(limit)}" for limit in limits)
    notes = _sequence(content.get("notes"))
    if notes:
        yield "\n## Notes of the training\n"
        yield from (f"- {_text(note)}" for note in notes)
    yield ""


def _scores(manifest: Manifest) -> Iterator[str]:
    if not manifest.scores:
        yield "None: the model was not cross-validated."
        return
    protocol = _mapping(_mapping(manifest.content.get("scores")).get("protocol"))
    folds, split = _text(protocol.get("folds", "?")), _text(protocol.get("split", "?"))
    yield f"Mean and standard deviation over {folds} folds of a cross-validation of the same training, split"
    yield f"by {split}.\n\n| score | mean | sd |\n|---|---:|---:|"
    for name, (mean, spread) in list(manifest.scores.items()):
        yield f"| {_text(name)} | {mean:.3f} | {spread:.3f} |"


def _text(value: object) -> str:
    """Remove terminal control characters and escape Markdown table syntax."""
    return printable(value, _LONGEST).replace("|", "\\|").replace("`", "'").replace("<", "\\<")


def _amount(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) < 10**12 else _text(value)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value[:_MOST] if isinstance(value, list) else []
