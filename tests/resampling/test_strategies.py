"""Every strategy has a paper, and a sentence on its use."""

import re
from pathlib import Path

import pytest

import skinmnist.reporting
from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES

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
    if tagged:
        paper = EVERY[name].paper
        assert (re.match(r"\w+", paper.authors)[0], paper.year) in list(zip(found, years, strict=True))


def test_an_alias_names_a_strategy():
    aliases = {known.same_as for known in EVERY.values()} - {""}
    assert aliases <= set(STRATEGIES)
    assert not any(STRATEGIES[name].same_as for name in aliases)
