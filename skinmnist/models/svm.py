"""The support vector machine.

The kernel's width is fixed from the rows before resampling, which have unit mean square in every space used
here: a width that followed the resampled rows, as that of ``gamma="scale"`` does, would differ between copies
and weights. The decision values carry no probabilities; the runner calibrates them on training lesions.
"""

from __future__ import annotations

import math
from typing import Any

from skinmnist.models.spec import Setting

#: Penalty on descriptors, and the kernel's width, in units of that of ``gamma="scale"``.
PENALTY, WIDTH = 10.0, 1.0
#: Penalty on components, chosen among 1, 3 and 10 on one lesion-grouped fold at 28x28.
PENALTY_COMPONENTS = 10.0


def make_svm(setting: Setting) -> Any:
    """Return an RBF support vector classifier (Cortes & Vapnik 1995) for standardised descriptors."""
    from skinmnist.models.descriptors import descriptor_names

    return _machine(PENALTY, WIDTH / len(descriptor_names(setting.shape)))


def make_svm_pixels(setting: Setting) -> Any:
    """Return the same for the leading principal components of the pixels."""
    from skinmnist.models.components import n_components

    return _machine(PENALTY_COMPONENTS, 1.0 / n_components(setting.train_rows, math.prod(setting.shape)))


def _machine(penalty: float, gamma: float) -> Any:
    from sklearn.svm import SVC

    return SVC(C=penalty, gamma=gamma, decision_function_shape="ovo", cache_size=400)
