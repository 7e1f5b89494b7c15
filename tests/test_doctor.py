import subprocess
import sys

from skinmnist.doctor import main


def test_the_doctor_says_what_a_bug_report_needs(capsys):
    assert main([]) in (0, 1)
    printed = capsys.readouterr().out
    for word in ("skinmnist 0", "scikit-learn", "instructions", "cores", "memory", "cache", "Known troubles"):
        assert word in printed


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from skinmnist.doctor import build_parser; build_parser();"
        "print(sorted({'numpy', 'pandas', 'sklearn', 'tensorflow'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
