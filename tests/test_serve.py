import importlib.util
import subprocess
import sys
import urllib.request

import pytest

from skinmnist import serve


def complaint(capsys, *arguments):
    assert serve.main(list(arguments)) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_no_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SKINMNIST_MODELS", str(tmp_path))
    assert "skinmnist train" in complaint(capsys)
    assert "none.skm" in complaint(capsys, str(tmp_path / "none.skm"))
    (tmp_path / "wrong.skm").write_bytes(b"\x80\x04pickle")
    assert "wrong.skm" in complaint(capsys, str(tmp_path / "wrong.skm"))


def test_without_the_extra(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "install the extra 'web'" in complaint(capsys, "any.skm")


SERVING = """
import sys
from skinmnist.inference import classifier
sys.path.insert(0, "tests/web")
from standing_in import StandIn
classifier.load_classifier = lambda path: StandIn()
from skinmnist.serve import main
code = main(["any.skm", "--port", "0", "--no-browser"])
heavy = {"sklearn", "keras", "tensorflow", "pandas"} & {name.split(".")[0] for name in sys.modules}
sys.exit(code or len(heavy))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent as a signal")
def test_the_command_serves_and_ends(pytestconfig):
    """It prints where the page is, answers, and ends with Ctrl+C, without a module that trains."""
    import signal

    process = subprocess.Popen(
        [sys.executable, "-c", SERVING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=pytestconfig.rootpath,
    )
    try:
        url = process.stdout.readline().split("http://")[1].split()[0]
        assert "not a medical device" in process.stdout.readline()
        with urllib.request.urlopen(f"http://{url}api/model", timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.communicate()
