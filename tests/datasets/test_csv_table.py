import pytest

HEADER = "{path}, header (line 1): "


def named(column, text):
    """Return a change of one name in the header."""

    def change(lines):
        names = lines[0].split(b",")
        names[column] = text
        return [b",".join(names), *lines[1:]]

    return change


FAULTS = {
    "no header": (
        lambda lines: [b"7,8,9,10,1", *lines[1:]],
        HEADER
        + "none of the 5 columns is 'label' (the first is '7'); expected pixel columns and 'label', with "
        "commas between and no quotes, so mend the header",
    ),
    "no label": (
        named(4, b"dx"),
        HEADER
        + "none of the 5 columns is 'label' (the first is 'pixel0000'); expected pixel columns and 'label', "
        "with commas between and no quotes, so mend the header",
    ),
    "semicolons": (
        lambda lines: [text.replace(b",", b";") for text in lines],
        HEADER
        + "none of the 1 columns is 'label' (the first is 'pixel0000;pixel0001;pixel0002;pixel00...'); "
        "expected pixel columns and 'label', with commas between and no quotes, so mend the header",
    ),
    "two labels": (
        named(0, b"label"),
        HEADER
        + "the column 'label' stands 2 times, as columns 1, 5; expected every column once, so drop or rename "
        "the copies",
    ),
    "label in the middle": (
        lambda lines: [b"pixel0000,pixel0001,label,pixel0002,pixel0003", *lines[1:]],
        HEADER + "'label' is column 3 of 5; expected it before or behind all pixels, so move it there",
    ),
    "label alone": (
        lambda lines: [b"label", b"0", b"1"],
        HEADER
        + "0 pixel columns make no square picture; expected side x side x 3 (RGB) or side x side (grey), "
        "such as 2352 or 784 for 28 x 28, so add the columns that are missing",
    ),
    "missing pixel": (
        lambda lines: [text.split(b",", 1)[1] for text in lines],
        HEADER
        + "column 1 is 'pixel0001' where 'pixel0000' was expected; write the pixel columns in order, without "
        "gaps, and no other column but 'label'",
    ),
    "missing pixel in the middle": (
        named(2, b"pixel0003"),
        HEADER
        + "the column 'pixel0003' stands 2 times, as columns 3, 4; expected every column once, so drop or "
        "rename the copies",
    ),
    "gap in the numbers": (
        named(3, b"pixel0004"),
        HEADER
        + "column 4 is 'pixel0004' where 'pixel0003' was expected; write the pixel columns in order, without "
        "gaps, and no other column but 'label'",
    ),
    "misordered pixels": (
        lambda lines: [b"pixel0000,pixel0002,pixel0001,pixel0003,label", *lines[1:]],
        HEADER
        + "column 2 is 'pixel0002' where 'pixel0001' was expected; write the pixel columns in order, without "
        "gaps, and no other column but 'label'",
    ),
    "misordered pixels behind the label": (
        lambda lines: [b"label,pixel0000,pixel0002,pixel0001,pixel0003", *lines[1:]],
        HEADER
        + "column 3 is 'pixel0002' where 'pixel0001' was expected; write the pixel columns in order, without "
        "gaps, and no other column but 'label'",
    ),
    "mixed padding": (
        named(1, b"pixel1"),
        HEADER
        + "column 2 is 'pixel1' where 'pixel0001' was expected; write the pixel columns in order, without "
        "gaps, and no other column but 'label'",
    ),
    "index column": (
        lambda lines: [b"," + lines[0], *(b"%d,%s" % (row, text) for row, text in enumerate(lines[1:]))],
        HEADER
        + "column 1 is '' where 'pixel0' was expected; write the pixel columns in order, without gaps, and "
        "no other column but 'label'",
    ),
    "one pixel too few": (
        lambda lines: [b"pixel0,pixel1,label", b"1,2,0"],
        HEADER
        + "2 pixel columns make no square picture; expected side x side x 3 (RGB) or side x side (grey), "
        "such as 2352 or 784 for 28 x 28, so add the columns that are missing",
    ),
    "header in another encoding": (
        named(1, b"pixel\xff"),
        "{path}, header (line 1), cell 2: received the byte 0xff, which is not UTF-8; expected a plain CSV "
        "file, so save it again as UTF-8",
    ),
}


@pytest.mark.parametrize(("change", "expected"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_every_fault_is_one_sentence(end, change, expected, seven_classes, complaint):
    lines = change(seven_classes.read_bytes().splitlines())
    seven_classes.write_bytes(b"".join(text + end for text in lines))
    assert complaint(seven_classes) == expected.format(path=seven_classes)
