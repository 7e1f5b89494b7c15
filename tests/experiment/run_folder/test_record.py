"""Tables as CSV files that do no harm in a spreadsheet."""

import csv
import io
import re

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from skinmnist.experiment.run_folder.record import csv_bytes, read_columns
from skinmnist.text import is_name

ODD = st.text(st.sampled_from("a1 '\"=+-@\t\r\n,\uff1d\ufeff\x1b\\\0") | st.characters(), max_size=12)
FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(ODD, ODD, st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_tables_are_inert_and_names_come_back(tmp_path_factory, rows):
    frame = pd.DataFrame(
        [(name if is_name(name) else "ab", word, value) for name, word, value in rows],
        columns=["name", "=word", "value"],
    )
    content = csv_bytes(frame)
    for cells in csv.reader(io.StringIO(content.decode(), newline="")):
        assert not [cell for cell in cells if FORMULA.match(cell) and not re.fullmatch(r"-[\d.eE+-]+", cell)]
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    path.write_bytes(content)
    back = read_columns(path, {"name": str, "value": float})
    assert back["name"].tolist() == frame["name"].tolist()
    assert back["value"].tolist() == frame["value"].tolist()


def test_ordinary_tables_are_written_as_ever():
    frame = pd.DataFrame(
        {"sampler": ["none", "SMOTE"], "value": [-1.5, np.nan], "n": [-1, 2], "ok": [True, False]}
    )
    assert csv_bytes(frame) == frame.to_csv(index=False, lineterminator="\n").encode()
