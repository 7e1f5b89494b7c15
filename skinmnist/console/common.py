"""Shared code of the commands: parsers, opening tables, exit codes, and errors in one sentence.

Parsers group their help, give examples, explain mistakes in one sentence, and complete words in shells.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TextIO

from skinmnist import facts
from skinmnist.errors import InputError
from skinmnist.names import did_you_mean
from skinmnist.text import printable, shell_word, shown

if TYPE_CHECKING:
    from skinmnist.datasets.table import PixelTable

#: Number of rows in the synthetic table, the fallback if no table is given or found.
SYNTHETIC_ROWS = 2500

#: A command within a sentence, after a colon.
COMMAND = re.compile(r"(?<=: )(?:python -m skinmnist\.|skinmnist )\w+ ")

FAILED_CELLS, FAILED_PICTURES, BROKEN_PIPE, BAD_INPUT, INTERRUPTED = 1, 1, 1, 2, 130
_TYPES = {"int": "a whole number", "float": "a number"}


def guarded(run: Callable[[], int]) -> int:
    """Run a command and return its exit code; bad input prints one sentence, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # Names may contain characters that the terminal cannot encode.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # At exit, the interpreter would look for garbage among the objects of all libraries for half a second.
    atexit.register(gc.freeze)
    try:
        return run()
    except InputError as error:
        say(f"skinmnist: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("skinmnist: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe; discard the remaining output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        say(f"skinmnist: {_sentence(error)}", file=sys.stderr)
        return BAD_INPUT


def _sentence(error: OSError) -> str:
    """Return one sentence on an error of the system, such as a file where a folder is needed."""
    reason = error.strerror or error
    names = [name for name in (error.filename, error.filename2) if name]
    if not names:
        return f"{reason}; fix this and try again"
    paths = [Path(os.fsdecode(name) if isinstance(name, bytes) else str(name)) for name in names]
    # Of a source and a target, the target is the cause, unless the source is missing.
    path = next((path for path in paths if not os.path.lexists(path)), paths[-1])
    if isinstance(error, FileExistsError | NotADirectoryError | FileNotFoundError):
        # Windows calls a path missing if a file takes the place of one of its folders.
        places = path.parents if isinstance(error, FileNotFoundError) else (path, *path.parents)
        if file := next((place for place in places if place.is_file()), None):
            return f"{file} is a file; expected a folder, so name another one"
    if isinstance(error, IsADirectoryError):
        return f"{path} is a folder; expected a file, so name one"
    if isinstance(error, FileNotFoundError):
        if not path.parent.is_dir():
            return f"the folder {path.parent} does not exist; check its name, or create it"
        return f"{path} was not found; check its name and folder"
    return f"{reason} ({path}); fix this and try again"


def say(text: object, file: TextIO | None = None) -> None:
    """Print one line, by default to standard output, with unprintable characters escaped.

    On a terminal, lines wrap between words, but never within a command, which can thus be copied.
    """
    stream, line = file or sys.stdout, printable(text)
    if stream.isatty() and not COMMAND.search(line):
        width = shutil.get_terminal_size().columns
        line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
    print(line, file=stream, flush=True)


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that specify a table for `open_table`."""
    add = parser.add_argument_group("data").add_argument
    add(
        "csv",
        metavar="CSV",
        nargs="?",
        help="a pixel table (default: search $SKINMNIST_DATA and data/ for "
        f"{' and '.join(facts.TABLE_FILES)}, else make a synthetic table)",
    )
    add(
        "--metadata",
        metavar="CSV",
        help=f"its metadata (default: {facts.METADATA_FILE} beside it; none: no metadata)",
    )
    add(
        "--classes",
        metavar="NAME",
        nargs="+",
        help="names of its classes in code order, if no metadata or classes file names them",
    )
    add(
        "--size",
        metavar="HxW[xC]",
        help="height x width of its pictures, and channels, if its columns fit several sizes",
    )
    add("--synthetic", metavar="N", type=int, help="use a synthetic table of N pictures instead")


def add_run_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the arguments that control how cells run; `out` is the help of ``--out``."""
    add = parser.add_argument_group("run").add_argument
    add("--seed", metavar="N", type=int, default=0, help="seed of all randomness (default: 0)")
    add("--jobs", metavar="N", type=int, help="worker processes (default: one per core)")
    add(
        "--dask",
        metavar="ADDRESS",
        help="run cells on a Dask cluster: its scheduler's address, or local (needs the extra 'cluster')",
    )
    add("--cell-seconds", metavar="S", type=float, help="stop a cell that takes longer (default: no limit)")
    add(
        "--cell-memory",
        metavar="MB",
        type=float,
        help="stop a cell whose process uses more resident memory, in MB of 2**20 bytes (default: no limit)",
    )
    add = parser.add_argument_group("output").add_argument
    add("--out", metavar="DIR", help=out)
    add("--fresh", action="store_true", help="discard the finished cells of the run folder")
    add("--verbose", action="store_true", help="print every event of the run, as in run.log")


def run_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments that control how cells run, from the options of `add_run_arguments`."""
    from skinmnist.experiment.execution.machine import Limits

    limits = Limits(options.cell_seconds, options.cell_memory)
    return {name: getattr(options, name) for name in ("seed", "jobs", "fresh", "dask")} | {"limits": limits}


def program(command: str) -> str:
    """Return the current form of a command: ``skinmnist compare`` or ``python -m skinmnist.compare``."""
    by_script = Path(sys.argv[0]).stem == "skinmnist"
    return f"skinmnist {command}" if by_script else f"python -m skinmnist.{command}"


def resume_command(command: str, arguments: list[str]) -> str:
    """Return the command that resumes or extends a run, without options that would discard its cells."""
    again = " ".join(shell_word(argument) for argument in arguments if argument != "--fresh")
    return f"{program(command)} {again}".rstrip()


def open_table(options: argparse.Namespace, command: str) -> PixelTable:
    """Return the specified table, else a table found locally, else a synthetic one; notes quote `command`."""
    from skinmnist.datasets.synthetic.lesions import make_lesions

    synthetic = options.synthetic
    said = {name: getattr(options, name) for name in ("metadata", "classes", "size")}
    said = {f"--{name}": value for name, value in said.items() if value is not None}
    if synthetic is not None:
        for name in filter(None, (options.csv, *said)):
            raise InputError(f"received {name} and --synthetic {synthetic}; drop one of them")
        return replace(make_lesions(synthetic, random_state=0), name=f"synthetic-{synthetic}")

    from skinmnist.datasets.classes_file import parse_size
    from skinmnist.datasets.hmnist import find_table
    from skinmnist.datasets.layouts import load_table

    path = find_table(options.csv)
    if path is not None:
        size = parse_size(options.size) if options.size is not None else None
        metadata: str | Literal[False] | None = False if options.metadata == "none" else options.metadata
        table = load_table(path, metadata, classes=options.classes, size=size)
        return replace(table, notes=(*table.notes, *naming_advice(table, command, hasattr(options, "fresh"))))
    for name in said:
        raise InputError(f"received {name}, but no table was named or found; name its CSV as well")
    return make_lesions(SYNTHETIC_ROWS, random_state=0)


def naming_advice(table: PixelTable, command: str, into_folder: bool) -> list[str]:
    """Return instructions for naming seven unknown classes, in the two common orders."""
    if table.class_names != tuple(f"class_{code}" for code in range(len(facts.CLASS_NAMES))):
        return []
    fresh = " --fresh" if into_folder else ""
    orders = {
        "in the order of the Kaggle tables": facts.CLASS_NAMES,
        "in alphabetical order (MedMNIST, LabelEncoder)": sorted(facts.CLASS_NAMES),
    }
    return [
        f"if the codes are the classes of HAM10000 {order}: {command} --classes {' '.join(names)}{fresh}"
        for order, names in orders.items()
    ]


class _Help(argparse.HelpFormatter):
    """Formatter that wraps paragraphs but leaves indented lines, which are examples, unchanged."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.splitlines()
        return "\n".join(line if line.startswith(" ") else textwrap.fill(line, width) for line in lines)


class CommandParser(argparse.ArgumentParser):
    """An argparse parser whose errors are one sentence that explains how to fix the mistake.

    Options cannot be abbreviated: an abbreviation could change its meaning when an option is added.
    `example` is a complete command.
    """

    example = ""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": _Help, "allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Print the expected and the received value, then exit with code 2."""
        print(printable(f"skinmnist: {self._in_words(message)}"), file=sys.stderr, flush=True)
        raise SystemExit(BAD_INPUT)

    def _in_words(self, message: str) -> str:
        for pattern, words in _SENTENCES.items():
            if found := re.fullmatch(pattern, message, re.DOTALL):
                return words(self, **found.groupdict())
        return f"{message.removeprefix('argument ')}; see `{self.prog} --help`"

    def _unknown(self, rest: str) -> str:
        """Explain the first unrecognised argument."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        word = rest.split()[0] if rest.startswith("-") else rest
        if word.startswith("-"):
            name = word.partition("=")[0]
            hint = did_you_mean(name, options)
            return f"unknown option {shown(name)}{hint} (`{self.prog} --help` shows all)"
        mend = did_you_mean(f"--{word}", options)
        if word.lower().endswith(".csv") and "--metadata" in options:
            mend = f"; for the table's metadata, write --metadata {word}"
        return f"received {shown(word)}, which belongs to no option{mend or f'; see `{self.prog} --help`'}"

    def _no_choice(self, name: str, value: str) -> str:
        choices = next((a.choices for a in self._actions if name in _names(a) and a.choices), ())
        known = [str(choice) for choice in choices]
        what = f"unknown value {value} of {name}" if name.startswith("-") else f"unknown action {value}"
        mend = did_you_mean(value.strip("'\""), known)
        example = "" if name.startswith("-") or mend else f", as in `{self.example}`"
        return f"{what}{mend} (expected one of {', '.join(known)}{example})"

    def _no_value(self, name: str) -> str:
        action = next(a for a in self._actions if name in _names(a))
        return f"{name} needs a value, as in {name} {action.metavar or 'VALUE'}; see `{self.prog} --help`"

    def _missing(self, names: str) -> str:
        return f"received no {names.replace(', ', ' and no ')}; expected as in `{self.example}`"

    def _none_of(self, names: str) -> str:
        return f"received neither {names.replace(' ', ' nor ')}; expected as in `{self.example}`"


def _names(action: argparse.Action) -> list[str]:
    """Return the names that argparse may use for an argument in a message."""
    return ["/".join(action.option_strings), *action.option_strings, str(action.metavar), action.dest]


#: Messages of argparse and their replacements.
_SENTENCES: Mapping[str, Any] = {
    r"unrecognized arguments: (?P<rest>.*)": CommandParser._unknown,
    r"argument (?P<name>\S+): invalid choice: (?P<value>.*) \(choose from .*\)": CommandParser._no_choice,
    r"argument (?P<name>\S+): expected (?:one|at least one) argument": CommandParser._no_value,
    r"argument (?P<name>\S+): invalid (?P<kind>int|float) value: (?P<value>.*)": (
        lambda parser, name, kind, value: f"{name} takes {_TYPES[kind]}, received {value}"
    ),
    r"argument (?P<name>\S+): ignored explicit argument (?P<value>.*)": (
        lambda parser, name, value: f"{name} takes no value, received {value}; write {name} alone"
    ),
    r"argument (?P<name>\S+): not allowed with argument (?P<other>\S+)": (
        lambda parser, name, other: f"received {other} and {name}; expected one of them, so drop the other"
    ),
    r"the following arguments are required: (?P<names>.*)": CommandParser._missing,
    r"one of the arguments (?P<names>.*) is required": CommandParser._none_of,
}


def command_parser(
    command: str,
    description: str,
    examples: Iterable[str],
    *,
    usage: str | None = None,
    closing: str = "",
) -> CommandParser:
    """Return the parser of a command, without its arguments.

    Parameters
    ----------
    examples : iterable of str
        The text after the name of the command, with a comment after ``#`` if needed.
    usage : str, optional
        The text after the name of the command in the usage line; by default, all options.
    closing : str
        The last lines of the help.
    """
    called = program(command)
    whole = [f"{called} {example}".rstrip() for example in examples]
    shown_examples = "\n".join(f"  {example}" for example in whole)
    epilog = "\n\n".join(part for part in (f"examples:\n{shown_examples}", closing) if part)
    parser = CommandParser(
        prog=called,
        description=description,
        epilog=epilog.replace("%", "%%"),
        usage=None if usage is None else f"{called} {usage}",
    )
    parser.example = whole[0]
    return parser


def complete(
    parsers: Mapping[str, argparse.ArgumentParser | None], values: Mapping[str, Callable[[], Iterable[str]]]
) -> None:
    """Return completions to a shell (argcomplete), then exit.

    Parameters
    ----------
    parsers : mapping of str to ArgumentParser or None
        The parsers by command; None for commands whose arguments do not need completion now.
    values : mapping of str to callable
        The possible values, keyed by the plural noun for the argument, such as ``"samplers"``.
    """
    import argcomplete

    whole = argparse.ArgumentParser(prog="skinmnist")
    commands = whole.add_subparsers()
    for command, parser in parsers.items():
        commands.add_parser(command, parents=[parser] if parser else [], add_help=False)
        for action in _all_actions(parser) if parser else ():
            named = action.dest.removeprefix("leak_").rstrip("s") + "s"
            if named in values:
                vars(action)["completer"] = lambda entries=values[named], **_: entries()
    argcomplete.autocomplete(whole)


def _all_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its subparsers."""
    for action in parser._actions:
        yield action
        if isinstance(action.choices, Mapping):
            for own in action.choices.values():
                yield from _all_actions(own)
