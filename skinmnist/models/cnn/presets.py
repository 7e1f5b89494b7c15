"""The network at three costs, and as the reference systems train theirs."""

from __future__ import annotations

from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.network import grid_side
from skinmnist.models.cnn.training import COARSE_GRID
from skinmnist.models.spec import Setting

#: Training rows of one of five folds of HAM10000, for which the budgets are stated.
FULL_TABLE_ROWS = 8012

#: Steps of 256 rows for small pictures. Over three folds and seeds of the 8x8 table 150 had accuracy .755 and
#: macro-AUC .920 in 6.1 core-seconds of fit, 200 had .763 and .925 in 7.5; 500 steps of 128 rows, .764 and
#: .926 over five folds, took 10.4.
SMALL_PICTURE_STEPS = 150


def steps_for(train_rows: int, steps_at_full_table: int) -> int:
    """Gradient steps for a number of training rows, before resampling.

    They grow with the rows: every table is seen the same number of times, whatever a sampler makes of it.

    Parameters
    ----------
    train_rows : int
    steps_at_full_table : int
        Steps at the 8,012 training rows of a fold of HAM10000.
    """
    return max(20, round(steps_at_full_table * train_rows / FULL_TABLE_ROWS))


def make_cnn(setting: Setting) -> CNNClassifier:
    """Build the network of the default comparison: about 25 seconds on a fold of HAM10000 at 28 x 28.

    Pictures too small for steps at half resolution, which are cheap, get fewer steps in larger batches: about
    7 seconds at 8 x 8.
    """
    if grid_side(setting.shape) >= COARSE_GRID:
        return CNNClassifier(
            setting.shape, steps=steps_for(setting.train_rows, 700), random_state=setting.seed
        )
    return CNNClassifier(
        setting.shape,
        steps=steps_for(setting.train_rows, SMALL_PICTURE_STEPS),
        batch_size=256,
        random_state=setting.seed,
    )


def make_cnn_tiny(setting: Setting) -> CNNClassifier:
    """Build the network of ``--quick``: about 3 seconds on 1,000 rows of 28 x 28."""
    return CNNClassifier(
        setting.shape,
        steps=steps_for(setting.train_rows, 1100),
        batch_size=64,
        channels=(16, 32),
        pairs=(0, 1),
        coarse_share=0.8,
        views=2,
        random_state=setting.seed,
    )


def make_cnn_thorough(setting: Setting) -> CNNClassifier:
    """Build a wider network for a longer run, and beside it one that looks at the lesion's descriptors.

    About three minutes on a fold of HAM10000 at 28 x 28. So long a run learns its pictures by heart unless
    they are changed more than those of the shorter ones.
    """
    return CNNClassifier(
        setting.shape,
        steps=steps_for(setting.train_rows, 2400),
        channels=(48, 96, 128),
        pairs=(0, 2, 1),
        dropout=0.4,
        feature_extractor=(256,),
        max_shift=3,
        colour_spread=0.1,
        random_state=setting.seed,
    )


def make_cnn_early_stopping(setting: Setting) -> CNNClassifier:
    """Build the default network, trained as most published ones are: Adam, until watched lesions stand still.

    Its learning rate is halved after 3 checks without a lower loss, and it stops after 8; it is checked
    about once in a pass over the training rows of HAM10000.
    """
    return CNNClassifier(
        setting.shape,
        steps=steps_for(setting.train_rows, 1900),
        kernel_rate=None,
        learning_rate=1e-3,
        coarse_share=0.0,
        rate_patience=3,
        stop_patience=8,
        random_state=setting.seed,
    )
