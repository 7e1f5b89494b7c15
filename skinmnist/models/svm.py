"""The support vector machine.

The kernel's width is fixed from the rows before resampling, which have unit mean square in every space used
here: a width that followed the resampled rows, as that of ``gamma="scale"`` does, would differ between copies
and weights. The decision values carry no probabilities; the runner calibrates them on training lesions.
"""

from __future__ import annotations

import math
from typing import Any

from skinmnist.models.spec import Setting

#: Penalty on descriptors, and how many of their principal components keep what distances they have.
PENALTY, DESCRIPTOR_COMPONENTS = 5.0, 100
#: Penalty on components, chosen among 1, 3 and 10 on one lesion-grouped fold at 28x28.
PENALTY_COMPONENTS = 10.0
#: Rows made by a sampler that a machine learns from at most in each class: SMOTE makes up to 5,300 of
#: HAM10000, most of them far from any border.
RESAMPLED_ROWS = 1_000
#: Rows of two classes that a machine learns from at most, for its cost grows faster than their square: more
#: than HAM10000 has (7,818, a fold 6,255), with what is kept of the rows that SMOTE makes (8,818 and 7,255).
#: With 12,000 a fold of twice as many pictures of 8 x 8 took three times as long.
PAIR_ROWS = 9_000
#: The same where it is trained on half the lesions to calibrate: macro-AUC after SMOTE is no lower for it.
CALIBRATION_PAIR_ROWS = 3_200
#: How near to its optimum a machine stops: one fold's scores differ by at most .001 from those at 0.001.
TOLERANCE = 0.01


def make_svm(setting: Setting) -> Any:
    """Return an RBF support vector classifier (Cortes & Vapnik 1995) for the components of descriptors."""
    from skinmnist.features.extract import feature_names
    from skinmnist.models.components import n_components

    columns = len(feature_names(setting.shape))
    return _machine(PENALTY, 1.0 / n_components(setting.train_rows, columns, DESCRIPTOR_COMPONENTS))


def make_svm_features(setting: Setting) -> Any:
    """Return the transformer of descriptors for `make_svm`: standardised, then turned onto their main axes.

    Turning keeps distances, and most axes hold next to nothing of them: the kernel costs a fraction.
    """
    from sklearn.pipeline import make_pipeline

    from skinmnist.features.transformer import Standardiser
    from skinmnist.models.components import Components

    return make_pipeline(Standardiser(), Components(DESCRIPTOR_COMPONENTS, random_state=setting.seed))


def make_svm_pixels(setting: Setting) -> Any:
    """Return the same for the leading principal components of the pixels."""
    from skinmnist.models.components import n_components

    return _machine(PENALTY_COMPONENTS, 1.0 / n_components(setting.train_rows, math.prod(setting.shape)))


def _machine(penalty: float, gamma: float) -> Any:
    from skinmnist.models.pairwise import PairwiseSVC

    return PairwiseSVC(C=penalty, gamma=gamma, tol=TOLERANCE, cache_size=400)
