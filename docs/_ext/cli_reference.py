"""The directive ``cli-reference``: one section for each command, written from its argument parser."""

from __future__ import annotations

import argparse
import importlib

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

#: The width that usage and help are wrapped at; a terminal's own width must not change the page.
COLUMNS = 88


class CommandReference(Directive):
    """Write a section for each command of skinmnist: usage, arguments, and its last words."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        from skinmnist.__main__ import COMMANDS

        return [command_section(name, meaning) for name, meaning in COMMANDS.items()]


def command_section(name: str, meaning: str) -> nodes.section:
    """Return the section of one command."""
    section = nodes.section(ids=[f"skinmnist-{name}"], names=[f"skinmnist {name}"])
    section += nodes.title(text=f"skinmnist {name}")
    build_parser = getattr(importlib.import_module(f"skinmnist.{name}"), "build_parser", None)
    if build_parser is None:
        section += nodes.paragraph(text=f"{meaning.capitalize()}. It takes no arguments.")
        return section
    for part in parser_nodes(build_parser(), f"skinmnist {name}"):
        section += part
    return section


def parser_nodes(parser: argparse.ArgumentParser, command: str) -> list[nodes.Node]:
    """Return what a parser knows of its command: description, usage, groups of arguments, epilogue."""
    parser.prog = command
    formatter = argparse.HelpFormatter(command, width=COLUMNS)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    found: list[nodes.Node] = [*prose(parser.description), code(formatter.format_help().strip())]
    subparsers: list[tuple[str, argparse.ArgumentParser]] = []
    for group in parser._action_groups:
        listed = nodes.definition_list(classes=["arguments"])
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                subparsers += action.choices.items()
            elif action.help != argparse.SUPPRESS:
                listed += argument(action)
        if listed.children:
            found.append(nodes.rubric(text=(group.title or "").capitalize()))
            found += [*prose(group.description), listed]
    found += [code(parser.epilog)] if "\n" in (parser.epilog or "") else prose(parser.epilog)
    for name, own in subparsers:
        found.append(nodes.rubric(text=f"{command} {name}"))
        found += parser_nodes(own, f"{command} {name}")
    return found


def argument(action: argparse.Action) -> nodes.definition_list_item:
    """Return one argument: how it is written, and its help."""
    formatter = argparse.HelpFormatter("", width=COLUMNS)
    written = formatter._format_action_invocation(action)
    explained = formatter._expand_help(action) if action.help else ""
    term = nodes.term("", "", nodes.literal(text=written))
    return nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(text=explained)))


def prose(text: str | None) -> list[nodes.Node]:
    """Return a paragraph, or nothing."""
    return [nodes.paragraph(text=text)] if text else []


def code(text: str | None) -> nodes.literal_block:
    """Return text that keeps its lines."""
    text = text or ""
    return nodes.literal_block(text, text, language="text")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("cli-reference", CommandReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
