"""Every strategy has a paper, and a sentence on its use."""

import re
from pathlib import Path

import numpy as np
import pytest

import skinmnist.reporting
from skinmnist.errors import InputError
from skinmnist.resampling.registry import TowardsBalance, make_sampler, resample
from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES, expand, group_members, spell

EVERY = {**STRATEGIES, **SAMPLERS}
BIBLIOGRAPHY = Path(skinmnist.reporting.__file__).with_name("references.bib").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EVERY)
def test_a_strategy_has_a_paper_and_a_sentence(name):
    known = EVERY[name]
    assert (known.paper is None) == (name == "none")
    assert re.fullmatch(r"[A-Z].{20,110}\.", known.use)
    assert not known.about.endswith(".")
    assert bool(known.module) == (name in SAMPLERS)
    if known.paper:
        assert 1960 < known.paper.year < 2027


@pytest.mark.parametrize("name", EVERY)
def test_the_bibliography_has_the_same_paper(name):
    tagged = [e for e in re.split(r"\n(?=@)", BIBLIOGRAPHY) if re.search(rf"sampler:{name}\b", e)]
    found = [re.search(r"author\s*= \{+(\w+)", entry)[1] for entry in tagged]
    years = [int(re.search(r"year\s*= \{(\d+)", entry)[1]) for entry in tagged]
    known = EVERY[name]
    assert bool(tagged) == (known.paper is not None and not known.same_as), (
        "every paper has one entry or more"
    )
    if tagged:
        surname = re.match(r"\w+", known.paper.authors)[0]
        assert (surname, known.paper.year) in list(zip(found, years, strict=True))


def test_an_alias_names_a_strategy():
    aliases = {known.same_as for known in EVERY.values()} - {""}
    assert aliases <= set(STRATEGIES)
    assert not any(STRATEGIES[name].same_as for name in aliases)


#: A share of the way to balance, in independent lines: class sizes to the power 1 - share, scaled so that the
#: largest class (or, for undersamplers, the smallest) keeps its size.
COUNTS = [120, 40, 12]
WANTED = {
    ("adds", 0.0): [120, 40, 12],
    ("adds", 0.25): [120, 52.6, 21.3],
    ("adds", 0.5): [120, 69.3, 37.9],
    ("adds", 1.0): [120, 120, 120],
    ("drops", 0.25): [67.5, 29.6, 12],
    ("drops", 0.5): [37.9, 21.9, 12],
    ("drops", 1.0): [12, 12, 12],
}


def clouds(counts=COUNTS, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return rng.normal(labels[:, None] * 1.5, 1.0, (len(labels), 4)), labels


@pytest.mark.parametrize(("amount", "share"), WANTED)
def test_a_share_is_a_power_of_the_class_frequencies(amount, share):
    _, labels = clouds()
    found = np.array(COUNTS)
    for code, rows in TowardsBalance(share, amount)(labels).items():
        found[code] = rows
    np.testing.assert_allclose(found, WANTED[amount, share], atol=0.51)
    # On a line in logarithms: the ratio of two classes is the natural ratio to the power 1 - share.
    assert np.log(found[0] / found[1]) == pytest.approx((1 - share) * np.log(120 / 40), abs=0.05)


#: Samplers that come near the number of rows asked for, or drop rows afterwards.
APPROXIMATE = {
    "ADASYN",
    "SVMSMOTE",
    "KMeansSMOTE",
    "SMOTETomek",
    "SMOTEENN",
    "InstanceHardnessThreshold",
}


@pytest.mark.parametrize("name", [name for name, known in SAMPLERS.items() if known.amount])
def test_every_sampler_with_an_amount_lies_between_natural_and_balanced(name):
    rows, labels = clouds()
    shares = ("@0", "@0.5", "")
    sizes = [
        np.bincount(resample(make_sampler(f"{name}{share}", 0), rows, labels).labels) for share in shares
    ]
    rare = [size[2] / size.sum() for size in sizes]
    assert rare[0] < rare[1] < rare[2]
    if name not in APPROXIMATE:
        known = SAMPLERS[name].amount
        for share, size in zip((0.0, 0.5, 1.0), sizes, strict=True):
            np.testing.assert_allclose(size, WANTED.get((known, share), COUNTS), atol=0.51)


@pytest.mark.parametrize("name", ["RandomOverSampler", "SMOTE", "RandomUnderSampler"])
def test_a_full_share_is_the_sampler_itself(name):
    rows, labels = clouds()
    full = make_sampler(name, 3).set_params(sampling_strategy=TowardsBalance(1.0, SAMPLERS[name].amount))
    own, plain = resample(full, rows, labels), resample(make_sampler(name, 3), rows, labels)
    np.testing.assert_array_equal(own.labels, plain.labels)
    np.testing.assert_array_equal(*(r.rows if r.rows is not None else r.sample_indices for r in (own, plain)))


def test_a_class_of_one_row_stays_as_it_is_at_any_share():
    rows, labels = clouds([40, 12, 1])
    result = resample(make_sampler("SMOTE@0.5", 0), rows, labels)
    assert np.bincount(result.labels).tolist() == [40, 22, 1]
    assert "classes with one training row stay unchanged" in result.notes[0]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("smote@.25", "SMOTE@0.25"),
        ("SMOTE@0.50", "SMOTE@0.5"),
        ("SMOTE@1.0", "SMOTE"),
        ("Class_Weight@0", "class_weight@0"),
        ("balanced_batches@1e-1", "balanced_batches@0.1"),
        ("mine@home", "mine@home"),
    ],
)
def test_names_with_a_share_are_spelt_one_way(written, name):
    assert spell(written) == name
    assert spell(name) == name


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            "SMOTE@2",
            "received 'SMOTE@2'; expected a share from 0 (the natural mix) to 1 (balance), as",
        ),
        ("smote@", "expected a share from 0"),
        ("SMOTE@nan", "expected a share from 0"),
        ("SMOTE@-0.1", "expected a share from 0"),
        (
            "TomekLinks@0.5",
            "TomekLinks has no amount to choose; write TomekLinks alone, or give",
        ),
        ("none@0.5", "none has no amount to choose"),
        ("sqrt_batches@0.5", "sqrt_batches has no amount to choose"),
        ("sweep:AllKNN", "AllKNN has no amount to choose"),
        ("sweep:SMOT", "such as sweep:SMOTE; did you mean 'sweep:SMOTE'?"),
    ],
)
def test_bad_shares_are_one_sentence(written, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        [*expand(written)]


def test_groups_hold_what_is_registered():
    assert len(group_members("modern")) >= 8
    assert set(group_members("modern")) <= set(EVERY)
    assert [*expand("MODERN")] == [*group_members("modern")]
    assert [*expand("sweep:class_weight")][1:3] == ["class_weight@0.25", "class_weight@0.5"]
