"""What the section of a preset says of the variants of a network."""

import numpy as np
import pandas as pd
import pytest
from described import invent_info

from skinmnist.analysis.significance import compare_models, corrected_t_test
from skinmnist.reporting.sections.claims import paired_words

ACCURACIES = {"net": [0.70, 0.72, 0.71], "net_normalised": [0.66, 0.67, 0.68]}
INFO = invent_info(
    grid={"samplers": [], "models": {"net": {"title": "Net"}, "net_normalised": {"title": "Net, normalised"}}}
)


@pytest.fixture
def comparisons():
    rows = [
        {"sampler": "none", "model": model, "repeat": 0, "fold": fold, "metric": "accuracy", "value": value}
        for model, values in ACCURACIES.items()
        for fold, value in enumerate(values)
    ]
    return compare_models(pd.DataFrame(rows), folds=3)


def test_a_variant_is_held_against_the_network_of_the_page(comparisons):
    (words,) = paired_words(INFO, comparisons, ["net", "net_normalised"])
    test = corrected_t_test(np.subtract(ACCURACIES["net_normalised"], ACCURACIES["net"]), 1 / 2)
    assert words.startswith("Net, normalised against Net, no sampler: Accuracy −0.040, ")
    ends = [f"{end:+.3f}".replace("-", "−") for end in (test.low, test.high)]
    assert f"worse (95 % interval over 3 folds from {ends[0]} to {ends[1]}, p = {test.p:.3f})" in words


def test_without_variants_nothing_is_said(comparisons):
    assert paired_words(INFO, comparisons, ["net"]) == []
    assert paired_words(INFO, comparisons.iloc[:0], ["net", "net_normalised"]) == []
