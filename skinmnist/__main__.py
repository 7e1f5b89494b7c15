"""``skinmnist COMMAND``, equivalent to ``python -m skinmnist.COMMAND``."""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from skinmnist import __version__
from skinmnist.console.common import BAD_INPUT
from skinmnist.names import did_you_mean, known_spelling

#: The commands, grouped by task and ordered for newcomers.
GROUPS = {
    "compare": {
        "compare": "cross samplers with models and write one report",
        "report": "write the report of a run folder again, or several runs side by side",
        "preset": "run a published system, as published and with the honest protocol",
        "list": "show samplers, models, metrics, presets, checks and splits by name",
    },
    "classify": {
        "train": "train a model on a whole table and save it",
        "predict": "classify pictures with a saved model",
        "serve": "open a page on this machine that classifies pictures",
    },
    "data": {
        "download": "fetch the tables of the Kaggle collection",
        "build": "make a pixel table from a folder of pictures",
    },
    "learn and get help": {
        "lessons": "run the lessons, write their gallery, mark the exam",
        "doctor": "print what a bug report needs to know about this machine",
    },
}
COMMANDS = {name: meaning for group in GROUPS.values() for name, meaning in group.items()}


def main(arguments: list[str] | None = None) -> int:
    """Run the command given as the first argument with the remaining arguments."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "_ARGCOMPLETE" in os.environ:
        _complete(os.environ.get("COMP_LINE", "").split())
    asked = arguments[0] if arguments else "--help"
    name = known_spelling(asked, COMMANDS)
    if name in COMMANDS:
        # The working directory may contain the user's models and samplers; Python's own folders come first.
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        return int(_module(name).main(arguments[1:]))
    if asked == "--version":
        print(f"skinmnist {__version__}")
        return 0
    if asked in ("--help", "-h", "help"):
        if asked == "help" and arguments[1:]:
            return main([arguments[1], "--help"])
        print(_help())
        return 0
    if asked.startswith("-") or asked.lower().endswith(".csv"):
        mend = f"name one first, as in `skinmnist compare {asked}`"
        print(f"skinmnist: received {asked!r} without a command; {mend}", file=sys.stderr)
        return BAD_INPUT
    hint = did_you_mean(asked, COMMANDS)
    print(f"skinmnist: unknown command {asked!r}{hint} (`skinmnist --help` shows all)", file=sys.stderr)
    return BAD_INPUT


def _module(command: str) -> Any:
    return importlib.import_module(f"skinmnist.{command}")


def _help() -> str:
    lines = ["usage: skinmnist COMMAND [arguments]"]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<10}{meaning}" for name, meaning in commands.items())]
    lines += [
        "",
        "Tab completion: install skinmnist[completion], then run",
        '  eval "$(register-python-argcomplete skinmnist)"',
    ]
    lines += ["", "To begin: `skinmnist compare --quick`. Run `skinmnist COMMAND --help` for its options."]
    return "\n".join(lines)


def _complete(words: list[str]) -> None:
    """Return completions to a shell, then exit."""
    from skinmnist.console.common import complete
    from skinmnist.list import KINDS

    def names(kind: str) -> list[str]:
        return [entry.name for entry in KINDS[kind].entries()]

    named = words[1] if len(words) > 1 else ""
    complete(
        {name: _module(name).build_parser() if name == named else None for name in COMMANDS},
        {kind: partial(names, kind) for kind in KINDS} | {"kinds": lambda: [*KINDS]},
    )


if __name__ == "__main__":
    raise SystemExit(main())
