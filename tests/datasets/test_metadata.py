import numpy as np
import pytest

from skinmnist import facts
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.metadata import find_metadata, read_metadata

LABELS = [0, 1, 2, 3, 4, 5, 6, 3, 4]  # those of the table seven_classes
LESIONS = [f"HAM_{facts.CLASS_NAMES[label]}" for label in LABELS]


def lines_for(diagnoses):
    """Return metadata of one lesion for each diagnosis."""
    rows = [f"HAM_{name},ISIC_{row},{name},histo,80.0,male,scalp" for row, name in enumerate(diagnoses)]
    return [",".join(facts.METADATA_COLUMNS), *rows]


def write(path, lines, end="\n"):
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


@pytest.fixture
def lines():
    return lines_for(facts.CLASS_NAMES[label] for label in LABELS)


def test_lesions_and_pictures_are_joined_by_row(seven_classes, lines, tmp_path):
    path = write(tmp_path / "facts.csv", lines)
    table = load_hmnist(seven_classes, metadata=path)
    assert table.lesion_ids.tolist() == LESIONS
    assert table.image_ids.tolist() == [f"ISIC_{row}" for row in range(9)]
    assert table.lesion_ids.dtype.kind == table.image_ids.dtype.kind == "U"
    assert table.class_names == facts.CLASS_NAMES
    assert [name for name, _ in table.inputs] == ["table.csv", "facts.csv"]


def test_clinical_columns_are_read(seven_classes, lines, tmp_path):
    lines[2] = lines[2].replace(",80.0,male,scalp", ",, unknown ,Unknown")
    lines[3] = lines[3].replace(",80.0,male,scalp", ",nan,,NA")
    lines[4] = lines[4].replace(",80.0,male,scalp", ",0,female,lower extremity")
    write(tmp_path / "table_metadata.csv", lines)
    for _ in range(2):  # The second time from the cache.
        clinical = load_hmnist(seven_classes).clinical
        assert list(clinical) == ["age", "sex", "localization"]
        np.testing.assert_array_equal(clinical["age"], [80, np.nan, np.nan, 0, 80, 80, 80, 80, 80])
        assert clinical["sex"].tolist() == ["male", "", "", "female", *["male"] * 5]
        assert clinical["localization"].tolist() == ["scalp", "", "", "lower extremity", *["scalp"] * 5]


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", ";"),
        lambda text: "\ufeff" + text.replace(",", ";").replace("\n", "\r\n"),
        lambda text: '"' + text.strip().replace(",", '"\t"').replace("\n", '"\n"') + '"\n',
    ],
    ids=["tabs", "semicolons", "semicolons of a spreadsheet", "quoted, tabs"],
)
def test_other_separators_say_the_same(seven_classes, lines, tmp_path, written):
    commas = load_hmnist(seven_classes, metadata=write(tmp_path / "commas.csv", lines))
    other = tmp_path / "other.tab"
    other.write_bytes(written("".join(line + "\n" for line in lines)).encode())
    table = load_hmnist(seven_classes, metadata=other)
    assert table.class_names == commas.class_names
    np.testing.assert_array_equal(table.lesion_ids, commas.lesion_ids)
    np.testing.assert_array_equal(table.image_ids, commas.image_ids)
    for name, values in commas.clinical.items():
        np.testing.assert_array_equal(table.clinical[name], values)


def test_clinical_columns_that_are_not_there_are_not_made_up(seven_classes, lines, tmp_path):
    path = tmp_path / "table_metadata.csv"
    write(path, [line.rpartition(",")[0] for line in lines])
    assert list(load_hmnist(seven_classes).clinical) == ["age", "sex"]
    write(path, [",".join(line.split(",")[:3]) for line in lines])
    assert load_hmnist(seven_classes).clinical is None
    assert load_hmnist(seven_classes, metadata=False).clinical is None


def test_metadata_beside_the_table_is_found(seven_classes, lines, tmp_path):
    assert load_hmnist(seven_classes).lesion_ids is None
    write(tmp_path / "HAM10000_metadata.csv", lines)
    assert load_hmnist(seven_classes).inputs[1][0] == "HAM10000_metadata.csv"
    write(tmp_path / "table_metadata.csv", lines)
    assert find_metadata(seven_classes) == tmp_path / "table_metadata.csv"
    assert load_hmnist(seven_classes).inputs[1][0] == "table_metadata.csv"
    without = load_hmnist(seven_classes, metadata=False)
    assert without.lesion_ids is None
    assert len(without.inputs) == 1


def test_changed_metadata_is_read_anew(seven_classes, lines, tmp_path):
    path = write(tmp_path / "table_metadata.csv", lines)
    load_hmnist(seven_classes)
    write(path, [line.replace("HAM_akiec", "HAM_9") for line in lines])
    assert load_hmnist(seven_classes).lesion_ids[0] == "HAM_9"


@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(lambda lines: "\r\n".join(lines), id="windows, no last line end"),
        pytest.param(lambda lines: "\ufeff" + "\n".join(lines) + "\n", id="byte order mark"),
        pytest.param(
            lambda lines: "\n".join(",".join(line.split(",")[:3]) for line in lines), id="three columns"
        ),
        pytest.param(
            lambda lines: "\n".join(",".join(line.split(",")[::-1]) for line in lines), id="other order"
        ),
        pytest.param(lambda lines: "\n".join(f"{line},more" for line in lines), id="further columns"),
        pytest.param(lambda lines: '"' + '"\n"'.join(lines).replace(",", '","') + '"', id="quoted"),
        pytest.param(
            lambda lines: "\n".join(lines).replace("scalp", '"scalp,\nleft"'), id="cells of two lines"
        ),
    ],
)
def test_other_ways_to_write_the_same(rewrite, lines, tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_bytes(rewrite(lines).encode())
    metadata = read_metadata(path)
    assert metadata.lesion_ids.tolist() == LESIONS
    assert metadata.image_ids.tolist() == [f"ISIC_{row}" for row in range(9)]
    assert metadata.diagnoses.tolist() == [facts.CLASS_NAMES[label] for label in LABELS]


def replaced(row, **cells):
    """Return a change of one data row; text for ``line`` replaces all of it."""

    def change(lines):
        values = dict(zip(facts.METADATA_COLUMNS, lines[row + 1].split(","), strict=True))
        line = cells.get("line", ",".join({**values, **cells}.values()))
        return [*lines[: row + 1], line, *lines[row + 2 :]]

    return change


MEND = "name the metadata of this table with --metadata, or leave it out with --metadata none"

FAULTS = {
    "empty": (
        lambda lines: [],
        "{path} is empty; expected a header with lesion_id, image_id, dx, and rows, so fill it",
    ),
    "header only": (
        lambda lines: lines[:1],
        "{path} has a header but no rows; expected one row per picture, so add them",
    ),
    "no dx": (
        lambda lines: [lines[0].replace(",dx,", ",diagnosis,"), *lines[1:]],
        "{path}, header (line 1): the column 'dx' appears nowhere among 7 columns; expected lesion_id, "
        "image_id, dx once each, so fix the header",
    ),
    "two dx": (
        lambda lines: [lines[0].replace("dx_type", "dx"), *lines[1:]],
        "{path}, header (line 1): the column 'dx' appears 2 times among 7 columns; expected lesion_id, "
        "image_id, dx once each, so fix the header",
    ),
    "short row": (
        replaced(4, line="HAM_nv,ISIC_4"),
        "{path}, row 4 (line 6) ends before column 'dx', with 2 cells; expected 7 as in the header, so "
        "complete the row",
    ),
    "long row": (
        replaced(4, localization="scalp,left"),
        "{path}, row 4 (line 6) continues after column 'localization', with 8 cells; expected 7 as in the "
        "header, so drop the extra cells",
    ),
    "blank line": (
        replaced(4, line=""),
        "{path}, row 4 (line 6) is blank; expected 7 cells, so drop the blank line",
    ),
    "no diagnosis": (
        replaced(8, dx=""),
        "{path}, row 8 (line 10), column 'dx': received an empty cell; expected a name of at most 200 "
        "characters, so fix the cell",
    ),
    "endless name": (
        replaced(0, image_id="I" * 201),
        "{path}, row 0 (line 2), column 'image_id': received 201 characters; expected a name of at most 200 "
        "characters, so fix the cell",
    ),
    "an age in words": (
        replaced(4, age="eighty"),
        "{path}, row 4 (line 6), column 'age': received 'eighty'; expected years from 0 to 130, or an empty "
        "cell if the age is unknown, so fix the cell",
    ),
    "a year of birth": (
        replaced(2, age="1950"),
        "{path}, row 2 (line 4), column 'age': received '1950'; expected years from 0 to 130, or an empty "
        "cell if the age is unknown, so fix the cell",
    ),
    "endless place": (
        replaced(0, localization="l" * 201),
        "{path}, row 0 (line 2), column 'localization': received 201 characters; expected a name of at most "
        "200 characters, so fix the cell",
    ),
    "two ages": (
        lambda lines: [lines[0].replace("dx_type", "age"), *lines[1:]],
        "{path}, header (line 1): the column 'age' appears 2 times among 7 columns; expected it once, so fix "
        "the header",
    ),
    "unknown class": (
        replaced(4, dx="naevus"),
        "{path}, row 4 (line 6), column 'dx': received 'naevus', which is not a known class; expected one of "
        "akiec, bcc, bkl, df, nv, vasc, mel, so fix the cell, or name the classes with --classes",
    ),
    "another class": (
        replaced(4, dx="mel"),
        "{path}, row 4 (line 6), column 'dx': 'mel' with label 4 in {table}, but label 6 is usual; 1 of 9 "
        "rows disagree like this; fix them, " + MEND,
    ),
    "one row less": (
        lambda lines: lines[:-1],
        "{path} has 8 rows, but {table} has 9 and no column image_id to join them by; add that column to "
        "the table, name its own metadata with --metadata, or leave it out with --metadata none",
    ),
    "one row more": (
        lambda lines: [*lines, lines[-1]],
        "{path} has 10 rows, but {table} has 9 and no column image_id to join them by; add that column to "
        "the table, name its own metadata with --metadata, or leave it out with --metadata none",
    ),
    "open quote": (
        replaced(4, dx='"nv'),
        "{path}, line 10 cannot be read as CSV (unexpected end of data); expected cells separated by commas, "
        "so fix the quotes in that line",
    ),
    "stray quote": (
        replaced(4, dx='"n"v'),
        "{path}, line 6 cannot be read as CSV (',' expected after '\"'); expected cells separated by commas, "
        "so fix the quotes in that line",
    ),
}


@pytest.mark.parametrize(("change", "expected"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_one_sentence(change, expected, seven_classes, lines, tmp_path, complaint):
    path = write(tmp_path / "HAM10000_metadata.csv", change(lines))
    assert complaint(seven_classes) == expected.format(path=path, table=seven_classes)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_bytes_that_are_not_utf8_are_placed(end, seven_classes, lines, tmp_path, complaint):
    path = write(tmp_path / "table_metadata.csv", lines, end)
    path.write_bytes(path.read_bytes().replace(b"ISIC_4,nv", b"ISIC_4,n\xe6vus"))
    assert complaint(seven_classes) == (
        f"{path}, row 4 (line 6), cell 3: received the byte 0xe6, which is not UTF-8; expected a plain CSV "
        f"file, so save it again as UTF-8"
    )


def test_line_numbers_count_the_lines_inside_cells(seven_classes, lines, tmp_path, complaint):
    lines[1] = lines[1].replace("scalp", '"scalp,\nleft"')
    path = write(tmp_path / "table_metadata.csv", replaced(4, dx="")(lines))
    assert f"{path}, row 4 (line 7), column 'dx'" in complaint(seven_classes)


def test_named_metadata_must_be_there(seven_classes, tmp_path, complaint):
    path = tmp_path / "none.csv"
    assert complaint(seven_classes, metadata=path) == (
        f"{path} does not exist; expected a CSV file, so check its name and folder"
    )


def test_other_numbers_of_classes_are_named_by_the_metadata(write_table, tmp_path):
    table = write_table(np.zeros((5, 4), int), [1, 0, 2, 1, 0])
    write(tmp_path / "table_metadata.csv", lines_for(["wet", "dry", "icy", "wet", "dry"]))
    assert load_hmnist(table).class_names == ("dry", "wet", "icy")
    assert load_hmnist(table, metadata=False).class_names == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize(
    ("diagnoses", "expected"),
    [
        (
            ["wet", "dry", "icy", "dry", "dry"],
            "row 3 (line 5), column 'dx': 'dry' with label 1 in {table}, but label 0 is usual; 1 of 5 rows "
            "disagree like this; fix them, " + MEND,
        ),
        (
            ["wet", "dry", "wet", "wet", "dry"],
            "row 2 (line 4), column 'dx': 'wet' with label 2 in {table}, but label 1 is usual; expected one "
            "label per dx, so merge these labels, or leave it out with --metadata none",
        ),
    ],
)
def test_labels_and_diagnoses_go_one_to_one(diagnoses, expected, write_table, tmp_path, complaint):
    table = write_table(np.zeros((5, 4), int), [1, 0, 2, 1, 0])
    path = write(tmp_path / "table_metadata.csv", lines_for(diagnoses))
    assert complaint(table) == f"{path}, " + expected.format(table=table)


def test_an_eighth_code_among_the_seven_diagnoses_is_an_error(write_table, lines, tmp_path, complaint):
    table = write_table(np.zeros((9, 4), int), [*LABELS[:-1], 7])
    write(tmp_path / "table_metadata.csv", lines)
    assert "row 8 (line 10), column 'dx': 'nv' with label 7" in complaint(table)


def test_the_real_metadata_agrees_with_both_tables(real_tables):
    small = load_hmnist(real_tables / "hmnist_8_8_RGB.csv")
    assert small.class_counts.tolist() == list(facts.ROWS_PER_CLASS)
    assert (np.array(facts.LESIONS_PER_CLASS) - small.lesion_counts).tolist() == [0, 0, 6, 0, 12, 0, 0]
    assert small.n_lesions == 7470 - len(facts.SAME_LESION)
    assert len(set(small.image_ids.tolist())) == 10015
    assert np.isnan(small.clinical["age"]).sum() == (small.clinical["sex"] == "").sum() == 57
    assert (small.clinical["localization"] == "").sum() == 234
    assert len(set(small.clinical["localization"].tolist())) == 15


def test_sources_are_columns_of_few_different_words(seven_classes, lines, tmp_path):
    more = ["dataset,note,visit"] + [f" Vienna_{row % 2} ,same,{'' if row else 'first'}" for row in range(9)]
    path = write(tmp_path / "facts.csv", [f"{line},{own}" for line, own in zip(lines, more, strict=True)])
    for _ in range(2):  # The second time from the cache.
        table = load_hmnist(seven_classes, metadata=path)
        assert list(table.sources) == ["dataset"]  # One word, or one known word, parts nothing.
        assert table.sources["dataset"].tolist() == [f"vienna_{row % 2}" for row in range(9)]
    assert table.take(np.arange(9)[::-1]).sources["dataset"].tolist()[0] == "vienna_0"
