"""What ``run.json`` says of a run that nobody has run."""

from skinmnist.datasets.decoding import decode
from skinmnist.experiment.run_folder.run_info import RunInfo

WHOLE = {
    "skinmnist": "0.1.0",
    "command": "python -m skinmnist.compare --folds 5 --seed 0",
    "arguments": {},
    "seed": 0,
    "quick": False,
    "jobs": 2,
    "protocol": {"data": "ab" * 32, "folds": 5, "split": "lesion", "seed": 0, "rows": 1},
    "repeats": 1,
    "identity": "fake",
    "fingerprints": {},
    "held_out": [],
    "table": {
        "name": "hmnist_28_28_RGB",
        "origin": "read from hmnist_28_28_RGB.csv",
        "synthetic": False,
        "rows": 1,
        "shape": [28, 28, 3],
        "class_names": ["nv"],
        "rows_per_class": [1],
    },
    "grid": {"samplers": [], "models": {}},
    "notes": [],
    "versions": {},
    "hardware": {},
}


def described(changes):
    """Return the content of ``run.json`` with changed keys; dicts are changed key by key."""
    content = dict(WHOLE)
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) and key in content else value
    return content


def invent_info(**changes):
    """Return what `described` says, its types checked, but not whether its parts fit each other."""
    return decode(RunInfo, described(changes))
