import numpy as np
import pytest

from skinmnist.datasets.csv_cells import read_carefully, read_fast
from skinmnist.datasets.csv_table import parse_header
from skinmnist.errors import InputError


def cell(row, column, text):
    """Return a change of one cell."""

    def change(lines):
        cells = lines[row + 1].split(b",")
        cells[column] = text
        return [*lines[: row + 1], b",".join(cells), *lines[row + 2 :]]

    return change


def line(row, change):
    """Return a change of one line."""
    return lambda lines: [*lines[: row + 1], change(lines[row + 1]), *lines[row + 2 :]]


def bad_pixel(shown):
    return (
        f"{{path}}, row 4 (line 6), column 'pixel0002': received {shown}; expected a whole number from 0 to "
        "255, in digits without sign, point, space or quotes, so mend the cell"
    )


def bad_label(shown):
    return (
        f"{{path}}, row 4 (line 6), column 'label': received {shown}; expected a class code from 0 up, in "
        "digits without sign, point, space or quotes, so mend the cell"
    )


FAULTS = {
    "empty": (lambda lines: [], "{path} is empty; expected pixel columns, 'label' and rows, so fill it"),
    "only line ends": (
        lambda lines: [b"", b"", b""],
        "{path} is empty; expected pixel columns, 'label' and rows, so fill it",
    ),
    "header only": (
        lambda lines: lines[:1],
        "{path} has a header and no rows; expected one row for each picture, so add them",
    ),
    "short row": (
        line(4, lambda text: text.rsplit(b",", 2)[0]),
        "{path}, row 4 (line 6) ends before column 'pixel0003', with 3 cells; expected 5 as in the header, "
        "so complete the row",
    ),
    "long row": (
        line(4, lambda text: text + b",1"),
        "{path}, row 4 (line 6) goes on behind column 'label', with 6 cells; expected 5 as in the header, so "
        "drop what is too much",
    ),
    "torn last row": (
        line(8, lambda text: text[: text.index(b",") + 1]),
        "{path}, row 8 (line 10) ends before column 'pixel0002', with 2 cells; expected 5 as in the header, "
        "so complete the row",
    ),
    "blank line": (
        line(4, lambda text: b""),
        "{path}, row 4 (line 6) is blank; expected 5 cells, so drop the blank line",
    ),
    "blank last line": (
        lambda lines: [*lines, b""],
        "{path}, row 9 (line 11) is blank; expected 5 cells, so drop the blank line",
    ),
    "line of spaces": (
        line(4, lambda text: b"  "),
        "{path}, row 4 (line 6) is blank; expected 5 cells, so drop the blank line",
    ),
    "decimal": (cell(4, 2, b"12.0"), bad_pixel("'12.0'")),
    "exponent": (cell(4, 2, b"1e2"), bad_pixel("'1e2'")),
    "text": (cell(4, 2, b"red"), bad_pixel("'red'")),
    "long text": (cell(4, 2, b"r" * 99), bad_pixel("'" + "r" * 37 + "...'")),
    "empty cell": (cell(4, 2, b""), bad_pixel("an empty cell")),
    "nan": (cell(4, 2, b"NaN"), bad_pixel("'NaN'")),
    "space": (cell(4, 2, b" 12"), bad_pixel("' 12'")),
    "plus": (cell(4, 2, b"+12"), bad_pixel("'+12'")),
    "minus one": (cell(4, 2, b"-1"), bad_pixel("'-1'")),
    "256": (cell(4, 2, b"256"), bad_pixel("'256'")),
    "257": (cell(4, 2, b"257"), bad_pixel("'257'")),
    "999": (cell(4, 2, b"999"), bad_pixel("'999'")),
    "1000": (cell(4, 2, b"1000"), bad_pixel("'1000'")),
    "2 to the 32nd": (cell(4, 2, b"4294967296"), bad_pixel("'4294967296'")),
    "ten thousand digits": (cell(4, 2, b"1" * 10_000), bad_pixel("'" + "1" * 37 + "...'")),
    "quoted": (cell(4, 2, b'"12"'), bad_pixel("'\"12\"'")),
    "arabic digit": (cell(4, 2, "\u0663".encode()), bad_pixel("'\u0663'")),
    "not UTF-8": (cell(4, 2, b"1\xff"), bad_pixel(r"'1\\xff' (not UTF-8)")),
    "nul": (cell(4, 2, b"1\0"), bad_pixel(r"'1\x00'")),
    "lone carriage return": (cell(4, 2, b"1\r2"), bad_pixel(r"'1\r2'")),
    "label decimal": (cell(4, 4, b"4.0"), bad_label("'4.0'")),
    "label text": (cell(4, 4, b"nv"), bad_label("'nv'")),
    "label empty": (cell(4, 4, b""), bad_label("an empty cell")),
    "label negative": (cell(4, 4, b"-1"), bad_label("'-1'")),
    "unknown class": (
        cell(4, 4, b"9"),
        "{path}, row 4 (line 6), column 'label': received the code 9 where no row has the code 7; expected "
        "the codes 0 to k-1 of k classes, so number the classes without a gap",
    ),
    "unknown class of many digits": (
        cell(4, 4, b"1000"),
        "{path}, row 4 (line 6), column 'label': received the code 1000 where no row has the code 7; "
        "expected the codes 0 to k-1 of k classes, so number the classes without a gap",
    ),
    "a class without rows": (
        cell(0, 4, b"1"),
        "{path}, row 0 (line 2), column 'label': received the code 1 where no row has the code 0; expected "
        "the codes 0 to k-1 of k classes, so number the classes without a gap",
    ),
}


@pytest.mark.parametrize(("change", "expected"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_every_fault_is_one_sentence(end, change, expected, seven_classes, complaint):
    lines = change(seven_classes.read_bytes().splitlines())
    seven_classes.write_bytes(b"".join(text + end for text in lines))
    assert complaint(seven_classes) == expected.format(path=seven_classes)


def test_a_fault_far_down_a_large_table_is_placed(write_table, complaint, draw):
    pixels, labels = draw(16, 3, n=2000)
    pixels[1999, 767] = 300
    assert "row 1999 (line 2001), column 'pixel0767': received '300'" in complaint(
        write_table(pixels, labels)
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("label_first", [False, True])
def test_both_readers_agree_on_random_tables(seed, label_first, write_table, draw):
    # Long enough that the fast reader takes several steps.
    side, channels = [(1, 1), (8, 3), (17, 1), (28, 3), (40, 3), (3, 1)][seed]
    pixels, labels = draw(side, channels, n=max(30, 150_000 // (side * side * channels)), k=9, seed=seed)
    path = write_table(pixels, labels, label_first=label_first)
    header, _, body = path.read_bytes().partition(b"\n")
    layout = parse_header(header.decode(), path)
    for read in (read_fast(body, layout), read_carefully(body, layout, path)):
        np.testing.assert_array_equal(read[0], pixels)
        np.testing.assert_array_equal(read[1], labels)


def test_both_readers_agree_on_altered_tables(write_table, draw):
    # The fast reader may decline, but whatever it returns the careful one returns too, without complaint.
    pixels, labels = draw(2, 1, n=6)
    path = write_table(pixels, labels)
    header, _, body = path.read_bytes().partition(b"\n")
    layout = parse_header(header.decode(), path)
    random = np.random.default_rng(0)
    signs = np.frombuffer(b"0259,,\n\n-. x\r\xff", np.uint8)
    accepted = refused = 0
    for _ in range(4000):
        altered = bytearray(body)
        for _ in range(random.integers(1, 3)):
            start, length = random.integers(len(altered)), random.integers(2)
            altered[start : start + length] = random.choice(signs, random.integers(3)).tobytes()
        altered = bytes(altered).removesuffix(b"\n") + b"\n"
        fast = read_fast(altered, layout)
        try:
            careful = read_carefully(altered, layout, path)
        except InputError:
            assert fast is None, altered
            refused += 1
        else:
            if fast is not None:
                np.testing.assert_array_equal(fast[0], careful[0])
                np.testing.assert_array_equal(fast[1], careful[1])
                accepted += 1
    assert accepted > 500
    assert refused > 1000
