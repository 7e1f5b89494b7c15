"""``skinmnist COMMAND``: the same as ``python -m skinmnist.COMMAND``."""

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
    "train": "train a model on a whole table and save it",
    "predict": "classify pictures with a saved model",
    "serve": "open a page on this machine that classifies pictures",
    "build": "make a pixel table of a folder of pictures",
    "download": "fetch the tables of the Kaggle collection",
    "lessons": "run the lessons, write their gallery, mark the exam",
    "doctor": "print what a bug report needs to know of this machine",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command that is named first with the other arguments."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command_name = arguments[0] if arguments else "--help"
    if command_name in COMMANDS:
        # Models and samplers of the user's own may stand in the working directory, behind Python's own.
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        return int(importlib.import_module(f"skinmnist.{command_name}").main(arguments[1:]))
    if command_name == "--version":
        print(f"skinmnist {__version__}")
        return 0
    if command_name in ("--help", "-h"):
        print("usage: skinmnist COMMAND [arguments]\n")
        print("\n".join(f"  {name:<10}{meaning}" for name, meaning in COMMANDS.items()))
        print("\nRun `skinmnist COMMAND --help` for its options.")
        return 0
    print(f"skinmnist: received {command_name!r}; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    raise SystemExit(main())
