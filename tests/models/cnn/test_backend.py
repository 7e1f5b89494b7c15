"""How TensorFlow is set up, in a fresh process, since settings hold for the whole of one; the precision."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn import backend
from skinmnist.models.cnn.backend import choose_precision, has_fast_bfloat16

SCRIPT = """
import numpy as np
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.backend import keras, tf

rng = np.random.default_rng(0)
pixels, labels = rng.integers(0, 256, (40, 192), dtype=np.uint8), np.arange(40) % 2
for seed in range(8):
    model = CNNClassifier((8, 8, 3), steps=2, batch_size=4, channels=(8,), pairs=(0,), random_state=seed)
    model.fit(pixels, labels).predict(pixels)
assert keras.backend.backend() == "tensorflow"
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == 1
assert not tf.config.get_visible_devices("GPU")
"""


def test_one_thread_and_not_a_word_on_the_terminal():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


WEIGHTS = """
import hashlib
import numpy as np
from skinmnist.models.cnn.classifier import CNNClassifier

rng = np.random.default_rng(0)
pixels, labels = rng.integers(0, 256, (40, 192), dtype=np.uint8), np.arange(40) % 2
model = CNNClassifier((8, 8, 3), steps=3, batch_size=4, channels=(8,), pairs=(0,), random_state=1)
print(hashlib.sha256(model.fit(pixels, labels).predict_proba(pixels).tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_users_keras_and_environment_change_no_result(tmp_path):
    surroundings = [
        ({}, {}),
        ({"image_data_format": "channels_first"}, {}),
        ({"floatx": "float16", "epsilon": 0.1}, {"TF_USE_LEGACY_KERAS": "1"}),
        ({"backend": "jax"}, {"KERAS_BACKEND": "torch", "TF_ENABLE_ONEDNN_OPTS": "0"}),
        ({}, {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit", "KERAS_MAX_EPOCHS": "1"}),
    ]
    answers = set()
    for number, (settings, variables) in enumerate(surroundings):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "keras.json").write_text(json.dumps(settings))
        environment = {**os.environ, "KERAS_HOME": str(home), **variables}
        run = subprocess.run(
            [sys.executable, "-c", WEIGHTS], env=environment, capture_output=True, text=True, check=True
        )
        answers.add(run.stdout)
    assert len(answers) == 1


def test_the_precision_is_known_without_tensorflow():
    code = "from skinmnist.models.cnn.backend import choose_precision as c; import sys; c('auto')"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('tensorflow' in sys.modules)"], check=True)


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Return a function that makes the processor say what it is given; None: it says nothing."""

    def say(flags):
        file = tmp_path / "cpuinfo"
        if flags is not None:
            file.write_text(f"processor : 0\nflags\t\t: fpu {flags} sse\n", encoding="utf-8")
        monkeypatch.setattr(backend, "Path", lambda name: file if name == "/proc/cpuinfo" else Path(name))
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
