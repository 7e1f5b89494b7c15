"""Run the commands that stand above the tables of a page again, and replace the tables by what they print.

python docs/refresh.py docs/performance.md --list
python docs/refresh.py docs/results.md default_28 RUN=runs/hmnist_28_28_RGB-0

A table is marked by the command that prints it; words in capitals, such as RUN, are given as ``RUN=VALUE``::

    <!-- printed rows: python experiments/benchmarks/scaling.py --show -->
    | ... |
    <!-- end printed -->

``printed rows (2)`` takes the second table of the output.
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(
    r"(<!-- printed (?P<name>\w+)(?: \((?P<number>\d+)\))?: (?P<command>.+?) -->\n\n?)"
    r".*?(?=\n*<!-- end printed -->)",
    re.S,
)
TABLE = re.compile(r"(?:^\|.*\n?)+", re.M)


def blocks(text: str) -> dict[str, re.Match[str]]:
    """Return the marked tables of a page by name."""
    return {match["name"]: match for match in BLOCK.finditer(text)}


def run(command: str, values: dict[str, str]) -> str:
    """Return what a command prints, with values in place of its words in capitals."""
    arguments = [values.get(word, word) for word in shlex.split(command)]
    missing = [word for word in arguments if re.fullmatch("[A-Z_]+[0-9]?", word)]
    if missing:
        raise SystemExit(f"the command needs {missing[0]}; add {missing[0]}=VALUE")
    if arguments[0] == "python":
        arguments[0] = sys.executable
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the command ended with exit code {done.returncode}: {shlex.join(arguments)}")
    return done.stdout


def refreshed(text: str, name: str, values: dict[str, str]) -> str:
    """Return the page with one table printed anew."""
    match = blocks(text).get(name)
    if match is None:
        raise SystemExit(
            f"the page has no table {name!r}; expected one of {', '.join(blocks(text)) or 'none'}"
        )
    tables = TABLE.findall(run(match["command"], values))
    number = int(match["number"] or 1)
    if len(tables) < number:
        raise SystemExit(f"the command printed {len(tables)} tables; expected at least {number}")
    table = tables[number - 1].rstrip("\n").replace("](experiments/", "](../experiments/")
    return text[: match.start()] + match[1] + table + text[match.end() :]


def main() -> None:
    """Refresh the tables that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME|WORD=VALUE")
    parser.add_argument("--list", action="store_true", help="print the tables of the page and their commands")
    options = parser.parse_args()
    text = options.page.read_text(encoding="utf-8")
    if options.list or not options.names:
        for name, match in blocks(text).items():
            print(f"{name}: {match['command']}")
        return
    values = dict(word.split("=", 1) for word in options.names if "=" in word)
    for name in (word for word in options.names if "=" not in word):
        text = refreshed(text, name, values)
    options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
