"""The parser of the commands: grouped help with examples, errors in one sentence, and shell completion."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from skinmnist.console.common import BAD_INPUT, program
from skinmnist.names import did_you_mean
from skinmnist.text import printable, shown

_TYPES = {"int": "a whole number", "float": "a number"}


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
