"""What the scripts of the lessons call, outside a gallery: in a plain script, and in a notebook."""

import sys
from types import ModuleType

import matplotlib as mpl
import pandas as pd
import pytest

from skinmnist.errors import InputError
from skinmnist.lessons import main
from skinmnist.teaching.notebook_api import WIDTH, figure, finding, open_table, say, show, show_table


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    with mpl.rc_context():
        mpl.use("Agg")
        yield


@pytest.fixture
def displayed(monkeypatch):
    """Pretend to be in a notebook; collect what is displayed."""
    shown = []
    ipython, displays = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: object()
    displays.display = shown.append
    displays.Image = lambda data, width, alt: ("image", data[:4], alt)
    displays.Markdown = lambda text: ("markdown", text)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return shown


def draw():
    drawn, axes = figure(height=100)
    axes.plot([0, 1])
    return drawn


def test_without_data_pictures_are_drawn(capsys):
    table = open_table(60)
    assert table.synthetic
    assert len(table) == 60
    assert capsys.readouterr().out.startswith("The table: 60 synthetic pictures of 28 × 28 pixels")


def test_a_table_at_hand_is_thinned_by_lesion(real_tables, monkeypatch, capsys):
    monkeypatch.setenv("SKINMNIST_DATA", str(real_tables / "hmnist_8_8_RGB.csv"))
    table = open_table(900)
    assert not table.synthetic
    assert len(table) == pytest.approx(900, abs=30)
    assert table.lesion_counts.min() >= 5


def test_a_table_without_lesions_is_one_sentence(tmp_path, monkeypatch):
    rows = "\n".join(",".join([*["7"] * 3, str(code)]) for code in range(7))
    (tmp_path / "tiny.csv").write_text(f"pixel0000,pixel0001,pixel0002,label\n{rows}\n")
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path / "tiny.csv"))
    with pytest.raises(InputError, match=r"put HAM10000_metadata\.csv beside it"):
        open_table()
    assert main(["1", "--out", str(tmp_path / "gallery")]) == 2
    assert not (tmp_path / "gallery").exists()


def test_a_table_of_other_classes_is_one_sentence(tmp_path, monkeypatch, capsys):
    rows = "\n".join(f"7,7,7,{code % 2}" for code in range(12))
    (tmp_path / "tiny.csv").write_text(f"pixel0000,pixel0001,pixel0002,label\n{rows}\n")
    patients = "\n".join(f"L{row},I{row},{('nv', 'wart')[row % 2]}" for row in range(12))
    (tmp_path / "tiny_metadata.csv").write_text(f"lesion_id,image_id,dx\n{patients}\n")
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path / "tiny.csv"))
    with pytest.raises(InputError, match="without the class mel;"):
        open_table()
    assert main(["--out", str(tmp_path / "gallery")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "gallery").exists()


def test_a_plain_script_prints(capsys):
    drawn = draw()
    assert drawn.get_size_inches()[0] * 72 == pytest.approx(WIDTH)
    show(drawn, "A line.")
    show_table(pd.DataFrame({"x": [-0.25]}, index=["a"]), "A table.", digits=2)
    printed = capsys.readouterr().out
    assert "[figure] A line.\n" in printed
    assert "A table.\n" in printed
    assert "−0.25" in printed


def test_a_notebook_displays(displayed, capsys):
    show(draw(), "A line.")
    say("It is **so**.")
    show_table(pd.DataFrame({"x": [0.5]}), "A table.")
    finding("Found.")
    assert displayed[0] == ("image", b"\x89PNG", "A line.")
    assert displayed[1] == ("markdown", "It is **so**.")
    assert "A table." in displayed[2].to_html()
    assert displayed[3] == ("markdown", "**Finding.** Found.")
    assert capsys.readouterr().out == ""
