import hashlib

import numpy as np
import pytest

from skinmnist.datasets import cache, csv_table, hmnist, mapped
from skinmnist.datasets.csv_table import parse_header, read_carefully, read_fast
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.errors import InputError

HEADER = "{path}, header (line 1): "
GIVE_SIZE = ", or give the size of the pictures with --size HEIGHTxWIDTH"


def named(column, text):
    """Return a change of one name in the header."""

    def change(lines):
        names = lines[0].split(b",")
        names[column] = text
        return [b",".join(names), *lines[1:]]

    return change


HEADER_FAULTS = {
    "no label": (
        lambda lines: [b"one,two,three,four,five", *lines[1:]],
        HEADER + "none of the 5 columns is 'label' (the first is 'one'); expected pixel columns and 'label', "
        "separated by commas and without quotes, so fix the header",
    ),
    "blanks": (
        lambda lines: [text.replace(b",", b" ") for text in lines],
        HEADER
        + "none of the 1 columns is 'label' (the first is 'pixel0000 pixel0001 pixel0002 pixel00...'); "
        "expected pixel columns and 'label', separated by commas and without quotes, so fix the header",
    ),
    "two labels": (
        named(0, b"label"),
        HEADER
        + "the column 'label' appears 2 times, as columns 1, 5; expected every column once, so drop or "
        "rename the copies",
    ),
    "label in the middle": (
        lambda lines: [b"pixel0000,pixel0001,label,pixel0002,pixel0003", *lines[1:]],
        HEADER + "'label' is column 3 of 5; expected it before or after all pixels, so move it there",
    ),
    "label alone": (
        lambda lines: [b"label", b"0", b"1"],
        HEADER
        + "0 pixel columns make no square picture; expected side x side x 3 (RGB) or side x side (grey), "
        "such as 2352 or 784 for 28 x 28, so add the missing columns" + GIVE_SIZE,
    ),
    "missing pixel": (
        lambda lines: [text.split(b",", 1)[1] for text in lines],
        HEADER + "column 1 is 'pixel0001', but 'pixel0000' was expected; write the pixel columns in order, "
        "without gaps, and no other column but 'label'",
    ),
    "missing pixel in the middle": (
        named(2, b"pixel0003"),
        HEADER
        + "the column 'pixel0003' appears 2 times, as columns 3, 4; expected every column once, so drop or "
        "rename the copies",
    ),
    "gap in the numbers": (
        named(3, b"pixel0004"),
        HEADER + "column 4 is 'pixel0004', but 'pixel0003' was expected; write the pixel columns in order, "
        "without gaps, and no other column but 'label'",
    ),
    "misordered pixels": (
        lambda lines: [b"pixel0000,pixel0002,pixel0001,pixel0003,label", *lines[1:]],
        HEADER + "column 2 is 'pixel0002', but 'pixel0001' was expected; write the pixel columns in order, "
        "without gaps, and no other column but 'label'",
    ),
    "misordered pixels behind the label": (
        lambda lines: [b"label,pixel0000,pixel0002,pixel0001,pixel0003", *lines[1:]],
        HEADER + "column 3 is 'pixel0002', but 'pixel0001' was expected; write the pixel columns in order, "
        "without gaps, and no other column but 'label'",
    ),
    "mixed padding": (
        named(1, b"pixel1"),
        HEADER + "column 2 is 'pixel1', but 'pixel0001' was expected; write the pixel columns in order, "
        "without gaps, and no other column but 'label'",
    ),
    "index column": (
        lambda lines: [b"," + lines[0], *(b"%d,%s" % (9 * row, text) for row, text in enumerate(lines[1:]))],
        HEADER + "the first column, '', is an index that does not count the rows; expected pixel columns and "
        "'label', so drop it: import pandas; t = pandas.read_csv('{path}', index_col=0); "
        "t.to_csv('table_mended.csv', index=False)",
    ),
    "one pixel too few": (
        lambda lines: [b"pixel0,pixel1,label", b"1,2,0"],
        HEADER
        + "2 pixel columns make no square picture; expected side x side x 3 (RGB) or side x side (grey), "
        "such as 2352 or 784 for 28 x 28, so add the missing columns" + GIVE_SIZE,
    ),
    "header in another encoding": (
        named(1, b"pixel\xff"),
        "{path}, header (line 1), cell 2: received the byte 0xff, which is not UTF-8; expected a plain CSV "
        "file, so save it again as UTF-8",
    ),
}


@pytest.mark.parametrize(("change", "expected"), HEADER_FAULTS.values(), ids=HEADER_FAULTS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_every_fault_of_a_header_is_one_sentence(end, change, expected, seven_classes, complaint):
    lines = change(seven_classes.read_bytes().splitlines())
    seven_classes.write_bytes(b"".join(text + end for text in lines))
    assert complaint(seven_classes) == expected.format(path=seven_classes)


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
        "255, as digits without a sign, point, space or quotes, so fix the cell"
    )


def bad_label(shown):
    return (
        f"{{path}}, row 4 (line 6), column 'label': received {shown}; expected a class code of 0 or more, as "
        "digits without a sign, point, space or quotes, so fix the cell"
    )


FAULTS = {
    "empty": (lambda lines: [], "{path} is empty; expected pixel columns, 'label' and rows, so fill it"),
    "only line ends": (
        lambda lines: [b"", b"", b""],
        "{path} is empty; expected pixel columns, 'label' and rows, so fill it",
    ),
    "header only": (
        lambda lines: lines[:1],
        "{path} has a header but no rows; expected one row per picture, so add them",
    ),
    "short row": (
        line(4, lambda text: text.rsplit(b",", 2)[0]),
        "{path}, row 4 (line 6) ends before column 'pixel0003', with 3 cells; expected 5 as in the header, "
        "so complete the row",
    ),
    "long row": (
        line(4, lambda text: text + b",1"),
        "{path}, row 4 (line 6) continues after column 'label', with 6 cells; expected 5 as in the header, "
        "so drop the extra cells",
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
        "{path}, row 4 (line 6), column 'label': received the code 9, but no row has the code 7; expected "
        "the codes 0 to k-1 of k classes, so number the classes without a gap",
    ),
    "unknown class of many digits": (
        cell(4, 4, b"1000"),
        "{path}, row 4 (line 6), column 'label': received the code 1000, but no row has the code 7; "
        "expected the codes 0 to k-1 of k classes, so number the classes without a gap",
    ),
    "a class without rows": (
        cell(0, 4, b"1"),
        "{path}, row 0 (line 2), column 'label': received the code 1, but no row has the code 0; expected "
        "the codes 0 to k-1 of k classes, so number the classes without a gap",
    ),
}


@pytest.mark.parametrize(("change", "expected"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_every_fault_is_one_sentence(end, change, expected, seven_classes, complaint):
    lines = change(seven_classes.read_bytes().splitlines())
    seven_classes.write_bytes(b"".join(text + end for text in lines))
    assert complaint(seven_classes) == expected.format(path=seven_classes)


def test_a_fault_far_down_a_large_table_is_placed(write_table, complaint, random_table):
    pixels, labels = random_table(16, 3, n=2000)
    pixels[1999, 767] = 300
    assert "row 1999 (line 2001), column 'pixel0767': received '300'" in complaint(
        write_table(pixels, labels)
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("label_first", [False, True])
def test_both_readers_agree_on_random_tables(seed, label_first, write_table, random_table):
    # Long enough that the fast reader takes several steps.
    side, channels = [(1, 1), (8, 3), (17, 1), (28, 3), (40, 3), (3, 1)][seed]
    pixels, labels = random_table(
        side, channels, n=max(30, 150_000 // (side * side * channels)), k=9, seed=seed
    )
    path = write_table(pixels, labels, label_first=label_first)
    header, _, body = path.read_bytes().partition(b"\n")
    layout = parse_header(header.decode(), path)
    for read in (read_fast(body, layout), read_carefully(body, layout, path)):
        np.testing.assert_array_equal(read[0], pixels)
        np.testing.assert_array_equal(read[1], labels)


def test_both_readers_agree_on_altered_tables(write_table, random_table):
    # The fast reader may decline, but whatever it returns the careful one returns too, without complaint.
    pixels, labels = random_table(2, 1, n=6)
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


@pytest.fixture
def csv(tmp_path, monkeypatch):
    """Write a table of 4 x 4 grey pictures in the way that is asked for; it counts as a large file."""
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mapped, "LARGE_FILE", 50)
    monkeypatch.setattr(csv_table, "PIECE", 100)

    def write(end="\n", last=True, mark=b"", label_first=False, spoil=None):
        cells = np.random.default_rng(0).integers(0, 256, (90, 16))
        labels = np.arange(90)[:, None] % 3
        rows = np.hstack([labels, cells] if label_first else [cells, labels])
        lines = [",".join(map(str, row)) for row in rows]
        names = [f"pixel{i}" for i in range(16)]
        lines.insert(0, ",".join(["label", *names] if label_first else [*names, "label"]))
        if spoil:
            lines[70] = spoil(lines[70])
        path = tmp_path / "table.csv"
        path.write_bytes(mark + (end.join(lines) + end * last).encode())
        return path

    return write


@pytest.mark.parametrize(
    "style",
    [{}, {"end": "\r\n"}, {"last": False}, {"mark": b"\xef\xbb\xbf"}, {"label_first": True}],
)
def test_pieces_make_the_table_that_the_whole_makes(csv, monkeypatch, style):
    path = csv(**style)
    with monkeypatch.context() as patch:
        patch.delattr(hmnist, "read_fast")
        patch.delattr(hmnist, "read_carefully")
        pieces = load_hmnist(path)
    assert isinstance(pieces.pixels, np.memmap)
    monkeypatch.setattr(mapped, "LARGE_FILE", 1 << 29)
    monkeypatch.setenv("SKINMNIST_CACHE", str(path.parent / "another"))
    whole = load_hmnist(path)
    assert pieces.digest() == whole.digest()
    assert pieces.inputs == whole.inputs


def test_a_large_table_is_parsed_once(csv, monkeypatch):
    first = load_hmnist(csv())
    monkeypatch.delattr(csv_table, "read_fast")
    assert load_hmnist(csv()).digest() == first.digest()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda line: line.replace(",", ",x", 1), "row 69"),
        (lambda line: line + ",1", "row 69"),
        (lambda line: "", "row 69"),
        (lambda line: line[:-1] + "7", "received the code 7"),
    ],
)
def test_a_fault_is_named_as_in_a_small_table(csv, spoil, message):
    with pytest.raises(InputError, match=message):
        load_hmnist(csv(spoil=spoil))


def test_leading_zeros_are_read_as_in_a_small_table(csv):
    plain = load_hmnist(csv())
    assert load_hmnist(csv(spoil=lambda line: "0000" + line)).digest() == plain.digest()


def test_a_file_that_changes_while_it_is_read_is_reported_and_not_stored(csv, monkeypatch):
    path = csv()
    whole = path.read_bytes()

    def change(_):
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        header, _, body = whole.partition(b"\n")
        path.write_bytes(header + b"\n" + body.replace(b"11,", b"22,"))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(cache, "hash_file", change)
        with pytest.raises(InputError, match="changed while it was read"):
            load_hmnist(path)
    other = load_hmnist(path).digest()
    path.write_bytes(whole)
    assert load_hmnist(path).digest() != other


# Shapes


@pytest.mark.parametrize(
    ("n_pixels", "candidates", "size", "shape"),
    [
        (22500, ["150 x 150 x 1 (grey)", "75 x 100 x 3 (RGB)"], (75, 100), (75, 100, 3)),
        (22500, ["150 x 150 x 1 (grey)", "75 x 100 x 3 (RGB)"], (150, 150, 1), (150, 150, 1)),
        (1024, ["32 x 32 x 1 (grey)", "16 x 16 x 4 (RGBA"], (32, 32), (32, 32, 1)),
        (4096, ["64 x 64 x 1 (grey)", "32 x 32 x 4 (RGBA"], (64, 64, 1), (64, 64, 1)),
        (7500, ["50 x 50 x 3 (RGB)", "75 x 100 x 1 (grey)"], (50, 50, 3), (50, 50, 3)),
        (30000, ["100 x 100 x 3 (RGB)", "150 x 200 x 1 (grey)"], (150, 200), (150, 200, 1)),
    ],
)
def test_columns_that_fit_several_shapes_are_asked_about(
    n_pixels, candidates, size, shape, write_table, complaint
):
    path = write_table(np.zeros((4, n_pixels), int), [0, 1, 0, 1])
    sentence = complaint(path)
    for candidate in candidates:
        assert candidate in sentence
    assert f"--size {'x'.join(map(str, shape))}" in sentence
    table = load_hmnist(path, size=size)
    assert table.shape == shape
    assert candidates[0] in complaint(path)  # from the cache


@pytest.mark.parametrize(
    "shape",
    [(28, 28, 3), (28, 28, 1), (8, 8, 3), (8, 8, 1), (64, 64, 3), (32, 32, 3), (15, 15, 1), (224, 224, 3)],
)
def test_columns_that_fit_one_shape_are_not_asked_about(shape, write_table):
    assert load_hmnist(write_table(np.zeros((2, np.prod(shape)), int), [0, 1])).shape == shape


@pytest.mark.parametrize(
    ("shape", "column"),
    [
        ((6, 8, 3), "pixel_{}_{}_{}"),
        ((16, 16, 1), "pixel_{}_{}"),
        ((12, 12, 1), "pixel_{}_{}_{}"),
        ((3, 5, 3), "pixel_{}_{}_{}"),
    ],
)
def test_names_of_columns_tell_the_shape(shape, column, write_table):
    path = write_table(np.arange(2 * np.prod(shape)).reshape(2, -1) % 256, [0, 1])
    names = [column.format(*np.unravel_index(i, shape)) for i in range(np.prod(shape))]
    body = path.read_text().partition("\n")[2]
    path.write_text(",".join([*names, "label"]) + "\n" + body)
    for _ in range(2):
        assert load_hmnist(path).shape == shape
    names[3], names[4] = names[4], names[3]
    path.write_text(",".join([*names, "label"]) + "\n" + body)
    with pytest.raises(InputError, match="column 4 is"):
        load_hmnist(path)


@pytest.mark.parametrize("size", [(16, 16, 4), (0, 5), (3, 3, 2)])
def test_sizes_that_cannot_be_are_refused(size, write_table, complaint):
    path = write_table(np.zeros((2, 1024), int), [0, 1])
    assert "expected height x width" in complaint(path, size=size)
    assert "1024 pixel columns, but --size says 30 x 30; expected 2700 or 900" in complaint(
        path, size=(30, 30)
    )


# Names of pictures


@pytest.mark.parametrize("place", [0, 1, -1, -2])
@pytest.mark.parametrize("label_first", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_pictures_may_be_named_beside_their_label(place, label_first, large, write_table, monkeypatch):
    if large:
        monkeypatch.setattr(mapped, "LARGE_FILE", 50)
    pixels, labels = np.arange(36).reshape(9, 4), [0, 1, 2, 0, 1, 2, 0, 1, 2]
    path = write_table(pixels, labels, label_first=label_first)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for row, cells in enumerate(lines):
        cells.insert(place if place >= 0 else len(cells) + 1 + place, f"ISIC {row}" if row else "image_id")
    path.write_text("\n".join(map(",".join, lines)) + "\n")
    inside = (
        lines[0].index("image_id") not in (0, 5)
        and "label" not in lines[0][(at := lines[0].index("image_id")) - 1 : at + 2]
    )
    if inside:
        with pytest.raises(InputError, match="expected it before or after all pixels"):
            load_hmnist(path)
        return
    for _ in range(2):
        table = load_hmnist(path)
        np.testing.assert_array_equal(table.pixels, pixels)
        assert table.labels.tolist() == labels
        assert table.image_ids.tolist() == [f"ISIC {row}" for row in range(1, 10)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,0,", "column 'image_id': received ''"),
        ("1,2,3,4,0", "ends before column 'image_id', with 5 cells; expected 6"),
        ("1,2,3,4,0,a,b", "continues after column 'image_id', with 7 cells; expected 6"),
        ("", "is blank; expected 6 cells"),
        ("1,2,x,4,0,a", "column 'pixel0002': received 'x'"),
        ("1,2,3,4,0,a\x1b", "column 'image_id': received"),
    ],
)
def test_every_fault_beside_names_of_pictures_is_one_sentence(line, message, tmp_path, complaint):
    path = tmp_path / "t.csv"
    path.write_text(
        f"pixel0000,pixel0001,pixel0002,pixel0003,label,image_id\n1,2,3,4,1,b\n{line}\n1,2,3,4,0,c\n"
    )
    sentence = complaint(path)
    assert f"{path}, row 1 (line 3)" in sentence
    assert message in sentence
