"""What may be shown, and what a spreadsheet may be given."""

import json
import os
import re
import subprocess
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinmnist.text import guarded_cell, is_name, json_text, one_line, printable, shell_word, unguarded_cell

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")


def assert_tame(text):
    assert not {sign for sign in text if unicodedata.category(sign) in HIDDEN} - {"\n"}


ODD = st.text(st.sampled_from("a1 '\"=+-@\t\r\n,\uff1d\ufeff\x1b\u202e\\\0") | st.characters(), max_size=12)


@settings(deadline=None, max_examples=60)
@given(ODD)
def test_printable_is_tame_and_changes_nothing_twice(text):
    line = printable(text)
    assert_tame(line)
    assert "\n" not in line
    assert printable(line) == line
    if line == text and text.strip():
        assert is_name(text)


@settings(deadline=None, max_examples=60)
@given(ODD)
def test_guarded_cells_compute_nothing_and_come_back(text):
    cell = guarded_cell(text)
    assert unguarded_cell(cell) == text
    assert not FORMULA.match(cell) or re.fullmatch(r"-[\d.eE+-]+", cell)


@settings(deadline=None, max_examples=60)
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_never_guarded(number):
    assert guarded_cell(str(number)) == str(number)


@pytest.mark.parametrize(
    "text", ["nv", "C:\\new", "naïve – 10\u00a0%", "مرحبا", "黑色素瘤", "हिन्दी", "☀️", "a'=b", "'tis"]
)
def test_honest_names_stay(text):
    assert printable(text) == guarded_cell(text) == text
    assert is_name(text)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(ODD, ODD | st.floats(allow_nan=False)))
def test_json_reads_back_and_hides_nothing(value):
    text = json_text(value, indent=1)
    assert json.loads(text) == value
    assert_tame(text)


def test_what_is_too_long_keeps_both_ends():
    line = printable("a" * 9000 + "z", 100)
    assert (len(line), line[0], line[-1]) == (100, "a", "z")
    assert one_line("two\n  lines") == "two lines"


@pytest.mark.parametrize(
    "name",
    [
        b"plain.csv",
        b"two words.csv",
        b"it's.csv",
        b"caf\xe9 \\ '\n.csv",
        b"\xff$(id)`x`",
        "caf\u00e9".encode(),
    ],
)
def test_a_word_of_a_command_can_be_pasted(name):
    word = shell_word(os.fsdecode(name))
    assert printable(word) == word
    pasted = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout
    assert pasted == name
