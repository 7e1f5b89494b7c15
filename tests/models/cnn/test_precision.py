"""The precision follows what the processor says of itself."""

from pathlib import Path

import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn import precision
from skinmnist.models.cnn.precision import choose_precision, has_fast_bfloat16


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Return a function that makes the processor say what it is given; None: it says nothing."""

    def say(flags):
        file = tmp_path / "cpuinfo"
        if flags is not None:
            file.write_text(f"processor : 0\nflags\t\t: fpu {flags} sse\n", encoding="utf-8")
        monkeypatch.setattr(precision, "Path", lambda name: file if name == "/proc/cpuinfo" else Path(name))
        has_fast_bfloat16.cache_clear()

    yield say
    has_fast_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("avx512f avx512_bf16", "bfloat16"),
        ("amx_bf16 amx_tile", "bfloat16"),
        ("avx512f avx2", "float32"),
        (None, "float32"),
    ],
)
def test_auto_follows_the_processor(processor, flags, chosen):
    processor(flags)
    assert choose_precision("auto") == chosen


def test_what_is_named_is_taken(processor):
    processor("avx2")
    assert [choose_precision(name) for name in ("float32", "bfloat16")] == ["float32", "bfloat16"]


def test_unknown_precision_is_refused():
    with pytest.raises(InputError, match="'float16'; choose one of auto, float32, bfloat16"):
        choose_precision("float16")
