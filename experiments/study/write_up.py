"""Write docs/study.md and its figures from the committed results of the study.

python experiments/study/write_up.py            writes the page and the figures
python experiments/study/write_up.py --check    exit code 1 if they differ from what would be written

Every result on the page, also within sentences, is printed from results.csv, subgroups.csv, intervals.csv and
parts.csv through the template study.md.jinja. Nothing is trained.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tables
from effects import (
    AS_TRAINED,
    AS_TRAINED_BALANCED,
    CONTROL,
    CONTROL_BALANCED,
    ECE,
    ECE_NATURAL,
    GROUPS,
    HARSH,
    LOSS_NATURAL,
    PRECISION,
    RANKING,
    RANKING_AS_TRAINED,
    TUNED,
    TUNED_BALANCED,
    Study,
)
from parts import read_plan

from skinmnist.analysis.significance import BETTER, UNDECIDED, WORSE, detectable_difference, joined
from skinmnist.console.common import guarded
from skinmnist.reporting.format import fixed, signed

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE, IMAGES = "study.md", "images"
TEMPLATE = "study.md.jinja"
#: Colours of a figure's file: enough for a few hues and their edges.
_COLOURS = 64

QUESTIONS = {
    "ranking": RANKING,
    "ranking_as_trained": RANKING_AS_TRAINED,
    "precision": PRECISION,
    "as_trained": AS_TRAINED,
    "as_trained_balanced": AS_TRAINED_BALANCED,
    "control": CONTROL,
    "control_balanced": CONTROL_BALANCED,
    "tuned": TUNED,
    "tuned_balanced": TUNED_BALANCED,
    "ece": ECE,
    "ece_natural": ECE_NATURAL,
    "loss_natural": LOSS_NATURAL,
}


def decided(
    study: Study, groups: Sequence[str], asked: str, verdicts: Sequence[str] = (BETTER, WORSE)
) -> str:
    """Name the pairs that are better and worse: the largest differences, if they are many."""
    words = {
        "ranking": "rank {} than without a method",
        "control": "decide {} as trained than `tuned_plain`",
        "tuned": "decide {} with both sides tuned",
        "precision": "have a {} average precision",
        "loss_natural": "have a {} log loss",
    }
    found = joined([study.compare(group, QUESTIONS[asked]).assign(group=group) for group in groups])
    sentences = []
    for verdict in verdicts:
        rows = found[found["verdict"] == verdict]
        rows = rows.loc[rows["difference"].abs().sort_values(ascending=False, kind="stable").index]
        named = [
            f"{row['sampler']} with `{row['model']}`, {GROUPS[row['group']].lower()}, {tables.interval(row)}"
            for _, row in rows.head(3).iterrows()
        ]
        verb = words[asked].format(verdict)
        if not named:
            sentences.append(f"No pair is shown to {verb}.")
            continue
        many = f"{len(rows)} pairs" if len(rows) > 1 else "One pair is shown to"
        first = ", most clearly" if len(rows) > 3 else ""
        sentences.append(f"{many} {verb}{first}: {'; '.join(named)}.")
    return " ".join(sentences)


def undecided_by_folds(study: Study, groups: Sequence[str], asked: str) -> list[tuple[int, int, int]]:
    """Return the number of folds, and how many pairs of those with so many folds are undecided."""
    found = joined([study.compare(group, QUESTIONS[asked]) for group in groups])
    rows = found.groupby("folds")["verdict"]
    return [(int(str(folds)), int((own == UNDECIDED).sum()), len(own)) for folds, own in rows]


def half_width(study: Study, group: str, asked: str) -> float:
    """Return the median half-width of the simultaneous intervals of a family."""
    return detectable_difference(study.compare(group, QUESTIONS[asked]), study.folds(group))


def versions(study: Study) -> str:
    """Name the libraries that decide the numbers."""
    found = dict(word.split("==") for word in study.parts["versions"].iloc[0].split())
    named = ("python", "scikit-learn", "imbalanced-learn", "numpy")
    return ", ".join(f"{name} {found[name]}" for name in named)


def left(study: Study) -> str:
    """Name the parts of the plan that have no result, or not all of it; synthetic tables are one."""
    missing: dict[str, int] = {}
    done = study.parts.set_index("part")
    for part in read_plan():
        folds = part.folds if part.split == "lesion" else 1
        planned = len(part.samplers) * len(part.models) * folds * part.repeats
        own = done.loc[part.name] if part.name in done.index else None
        ended = 0 if own is None else int(own["done"] + own["failed"])
        if own is None or ended < own["cells"]:
            name = part.group if part.synthetic else part.name
            missing[name] = missing.get(name, 0) + planned - ended
    named = [f"{name} ({cells:,})" for name, cells in missing.items()]
    return f"Cells that the plan has and this page has not: {', '.join(named)}." if named else "Nothing."


def render(study: Study) -> str:
    """Return the page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    drawn = [getattr(tables, name) for name in dir(tables) if name.endswith("_table")]
    drawn += [decided, half_width, undecided_by_folds, versions, left]
    names: dict[str, Any] = {f.__name__: (lambda *given, f=f: f(study, *given)) for f in drawn}
    names |= {"study": study, "ask": QUESTIONS, "fixed": fixed, "signed": signed, "span": tables.span}
    names |= {"harsh": HARSH, "titles": GROUPS, "groups": [group for group in GROUPS if study.has(group)]}
    return environment.get_template(TEMPLATE).render(**names)


def draw(study: Study) -> dict[str, bytes]:
    """Return the figures as PNG files by name."""
    from figures import figures
    from PIL import Image

    made = {}
    for name, figure in figures(study).items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=144, facecolor="white")
        small = io.BytesIO()
        with Image.open(buffer) as picture:
            picture.convert("RGB").quantize(_COLOURS).save(small, format="png", optimize=True)
        made[name] = small.getvalue()
    return made


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE, metavar="DIR", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR", help="folder of the page")
    parser.add_argument("--check", action="store_true", help="write nothing; compare")
    options = parser.parse_args(arguments)
    return guarded(lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    study = Study.read(options.results)
    files = {options.docs / PAGE: render(study).encode()}
    files |= {options.docs / IMAGES / f"{name}.png": content for name, content in draw(study).items()}
    if options.check:
        differing = [
            str(path) for path, new in files.items() if not path.is_file() or path.read_bytes() != new
        ]
        print("\n".join(f"differs: {path}" for path in differing) or f"{len(files)} files are up to date")
        return 1 if differing else 0
    for path, content in files.items():
        path.write_bytes(content)
        print(f"{path}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
