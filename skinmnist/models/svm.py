"""The support vector machine."""

from __future__ import annotations

import math
from typing import Any

from skinmnist.models.spec import Setting

#: Penalty chosen among 1, 3 and 10 on one lesion-grouped fold at 28x28.
PENALTY = 10.0


def make_svm(setting: Setting) -> Any:
    """Return an RBF support vector classifier (Cortes & Vapnik 1995), pairwise between classes.

    Its decision values carry no probabilities; the runner calibrates them on training lesions. The kernel's
    width is that of ``gamma="scale"`` on the components of the training rows before resampling, which have
    unit mean square: a width that followed the resampled rows would differ between copies and weights.
    """
    from sklearn.svm import SVC

    from skinmnist.models.components import n_components

    return SVC(
        C=PENALTY,
        gamma=1.0 / n_components(setting.train_rows, math.prod(setting.shape)),
        decision_function_shape="ovo",
        cache_size=400,
    )
