"""The command that fetches tables: what it prints and how it leaves."""

import pytest

from skinmnist import facts
from skinmnist.download import main


@pytest.fixture
def served(mirror, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    for name, pixels in zip(facts.TABLE_FILES, (2352, 192), strict=True):
        header = ",".join([*(f"pixel{column:04d}" for column in range(pixels)), "label"])
        rows = [",".join([*["9"] * pixels, str(code)]) for code in range(7)]
        mirror.files[f"/{name}"] = "\n".join([header, *rows, ""]).encode()
    rows = [f"L{code},I{code},{name},histo,50,male,back" for code, name in enumerate(facts.CLASS_NAMES)]
    mirror.files[f"/{facts.METADATA_FILE}"] = "\n".join([",".join(facts.METADATA_COLUMNS), *rows]).encode()
    return mirror


def test_what_comes_is_reported_and_read(served, tmp_path, capsys):
    assert main(["--mirror", served.url]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == [f"fetched: data/{name}" for name in (*facts.TABLE_FILES, facts.METADATA_FILE)]
    assert "not at the mirror: hmnist_28_28_L.csv" in out
    assert "hmnist_8_8_RGB.csv: 7 pictures of 7 lesions; the metadata agrees" in out
    assert "*** hmnist_8_8_RGB.csv is incomplete: the collection has 10,015 pictures" in out
    assert main(["--mirror", served.url]) == 0
    assert f"already there: data/{facts.METADATA_FILE}" in capsys.readouterr().out


def test_metadata_of_another_table_is_one_sentence(served, capsys):
    rows = served.files[f"/{facts.METADATA_FILE}"].splitlines()
    served.files[f"/{facts.METADATA_FILE}"] = b"\n".join([*rows[:-2], rows[-1], rows[-2]])
    assert main(["--mirror", served.url, "--to", "elsewhere"]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "calls the labels of hmnist_28_28_RGB.csv akiec, bcc, bkl, df, nv, mel, vasc; expected" in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--mirror", "data"],
            "received the mirror 'data', which does not exist; expected an address that begins",
        ),
        (
            ["--mirror", "file://elsewhere/etc"],
            "received the mirror 'file://elsewhere/etc', which does not exist",
        ),
        (["--mirror", "file://[::1"], "received the mirror"),
        (["--mirror", "http://[::1"], "expected one that begins with http://"),
        (["--mirror", "URL/nowhere"], "does not hold hmnist_28_28_RGB.csv"),
        (["--mirror", "URL/a.zip"], "a.zip does not exist (404)"),
        (["--mirror", "URL", "--sums", "nowhere"], "nowhere was not found; check its name"),
    ],
)
def test_bad_input_is_one_sentence(served, arguments, sentence, capsys):
    assert main([argument.replace("URL", served.url) for argument in arguments]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("skinmnist: ")
    assert sentence in complaint
