"""``skinmnist <door>``: the same doors as ``python -m skinmnist.<door>``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from skinmnist import __version__
from skinmnist.console.common import BAD_INPUT

COMMANDS = {
    "compare": "cross samplers with models and write one report",
    "preset": "run a published system, as its page did it and honestly",
    "report": "write the report of a run folder again",
    "train": "train a model on a whole table and keep it in a file",
    "predict": "classify pictures with a model that was kept",
    "serve": "open a page on this machine that classifies pictures",
    "build": "make a pixel table of a folder of pictures",
    "download": "fetch the tables of the Kaggle collection",
    "lessons": "run the lessons, write their gallery, mark the exam",
    "doctor": "say what a bug report needs to know of this machine",
}


def main(arguments: list[str] | None = None) -> int:
    """Open the door that is named first and hand it the rest."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command_name = arguments[0] if arguments else "--help"
    if command_name in COMMANDS:
        # As `python -m` does: models and samplers of the user's own may stand in the working directory.
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return int(importlib.import_module(f"skinmnist.{command_name}").main(arguments[1:]))
    if command_name == "--version":
        print(f"skinmnist {__version__}")
        return 0
    if command_name in ("--help", "-h"):
        print("usage: skinmnist DOOR [arguments]\n")
        print("\n".join(f"  {name:<10}{meaning}" for name, meaning in COMMANDS.items()))
        print("\n`skinmnist DOOR --help` tells what a door takes.")
        return 0
    print(f"skinmnist: received {command_name!r}; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    raise SystemExit(main())
