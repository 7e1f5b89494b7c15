"""Budgets that follow the table, and the precision that follows what the processor says of itself."""

from pathlib import Path

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn import variants
from skinmnist.models.cnn.variants import (
    SMALL_PICTURE_STEPS,
    choose_precision,
    has_fast_bfloat16,
    make_cnn,
    make_cnn_early_stopping,
    make_cnn_thorough,
    make_cnn_tiny,
    steps_for,
)
from skinmnist.models.spec import Setting


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Return a function that makes the processor say what it is given; None: it says nothing."""

    def say(flags):
        file = tmp_path / "cpuinfo"
        if flags is not None:
            file.write_text(f"processor : 0\nflags\t\t: fpu {flags} sse\n", encoding="utf-8")
        monkeypatch.setattr(variants, "Path", lambda name: file if name == "/proc/cpuinfo" else Path(name))
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


def test_budgets_grow_as_tables_do():
    small, full, large = (steps_for(rows, 700) for rows in (1000, 8012, 100_000))
    assert small < full == 700 < large
    assert small / 1000 == pytest.approx(large / 100_000, rel=0.01)
    assert steps_for(1, 700) >= 20


def test_small_pictures_get_fewer_steps_in_larger_batches():
    budgets = {}
    for side in (8, 28):
        network = make_cnn(Setting(shape=(side, side, 3), n_classes=7, train_rows=8012, seed=0))
        budgets[side] = network.steps, network.batch_size
    assert budgets[28] == (700, 128)
    assert budgets[8] == (SMALL_PICTURE_STEPS, 256)
    assert np.prod(budgets[8]) < np.prod(budgets[28])


@pytest.mark.parametrize("make", [make_cnn, make_cnn_tiny, make_cnn_thorough, make_cnn_early_stopping])
def test_makers_follow_the_setting(make):
    model = make(Setting(shape=(8, 8, 3), n_classes=3, train_rows=1000, seed=9))
    assert model.shape == (8, 8, 3)
    assert model.random_state == 9
    assert model.steps > 0
