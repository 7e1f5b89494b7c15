"""Every check has a run that triggers it; a clean run triggers none."""

import re
from dataclasses import replace
from email.message import Message
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from described import invent_info

from skinmnist import facts
from skinmnist.analysis import standing
from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.checks import (
    CHECKS,
    CONCLUSIONS,
    SEVERITIES,
    exchanged_classes,
    hurt_calibration,
    less_accurate,
    undecided_differences,
)
from skinmnist.analysis.significance import compare_samplers
from skinmnist.experiment.cells import Cell, CellFailure, CellResult, Timing
from skinmnist.experiment.metrics import score_predictions
from skinmnist.experiment.run_folder.record import RunRecord, predictions_table, timings_table

NAMES = list(facts.CLASS_NAMES)
COUNTS = np.array([60, 80, 120, 60, 500, 60, 120])
FOLDS = 5
SKILL = {("none", "svm"): 0.90, ("SMOTE", "svm"): 0.60}


@cache
def invent(change, skill):
    """Return cells, predictions and scores of pairs that are right with the probabilities of `skill`.

    `change` gets a pair, its labels, decisions and confidence, and returns decisions and confidence.
    """
    results = []
    for (sampler, model), right in skill:
        for fold in range(FOLDS):
            rng = np.random.default_rng([*f"{sampler}{model}".encode(), fold])
            labels = np.arange(len(NAMES)).repeat(COUNTS // FOLDS)
            wrong = rng.permutation(len(labels)) >= round(right * len(labels))
            predicted = np.where(wrong, (labels + 1 + rng.integers(0, 6, len(labels))) % 7, labels)
            confidence = right
            if change is not None:
                predicted, confidence = change((sampler, model), labels, predicted, confidence)
            probabilities = np.full((len(labels), 7), (1 - confidence) / 6)
            probabilities[np.arange(len(labels)), predicted] = confidence
            results.append(
                CellResult(
                    cell=Cell(sampler, model, 0, fold),
                    rows=np.arange(fold, len(labels) * FOLDS, FOLDS),
                    labels=labels,
                    probabilities=probabilities,
                    timing=Timing(1, 1, 0.0, 0.0, 0.0, 0.0),
                    counts_before=COUNTS * 0.8,
                    counts_after=COUNTS * 0.8,
                    natural_mix=COUNTS / COUNTS.sum(),
                    training_mix=COUNTS / COUNTS.sum(),
                )
            )
    predictions = predictions_table(results, NAMES)
    return results, predictions, score_predictions(predictions, NAMES)


def make_record(change=None, skill=None, **info):
    """Return the record of a clean run, but for what is changed; `info` replaces keys of ``run.json``."""
    results, predictions, scores = invent(change, tuple((skill or SKILL).items()))
    described = {
        "table": {
            "class_names": NAMES,
            "rows": int(COUNTS.sum()),
            "rows_per_class": COUNTS.tolist(),
            "lesions": 900,
            "lesions_per_class": (COUNTS - 10).tolist(),
            "synthetic": False,
        },
        "protocol": {"folds": FOLDS, "split": "lesion", "seed": 0, "rows": int(COUNTS.sum())},
        "split_facts": {
            "shared_lesions": 0,
            "shared_pictures": 0,
            "alike_from": 0.99,
            "alike_pairs": 4,
            "alike_across": 0,
            "alike_rows": [],
        },
        "seed": 0,
        "quick": False,
        "cells": [result.cell._asdict() | {"status": "done"} for result in results],
    }
    for key, value in info.items():
        described[key] = described[key] | value if isinstance(value, dict) else value
    return RunRecord(
        folder=Path("nowhere"),
        info=invent_info(**described),
        results=tuple(results),
        failures=(),
        predictions=predictions,
        scores=scores,
        timings=timings_table(results),
        pictures=np.zeros((0, 1, 1, 3), np.uint8),
        picture_labels=np.zeros(0, np.int64),
    )


def always_nv(pair, labels, predicted, confidence):
    return (np.full_like(labels, 4), 0.9) if pair[0] == "SMOTE" else (predicted, confidence)


def never_df(pair, labels, predicted, confidence):
    return np.where(predicted == 3, 4, predicted), confidence


def too_sure(pair, labels, predicted, confidence):
    return predicted, 0.98 + predicted.mean() / 1000 if pair[0] == "SMOTE" else confidence


def swapped(pair, labels, predicted, confidence):
    exchange = np.arange(7)
    exchange[[4, 6]] = 6, 4
    return exchange[predicted], confidence


def failing():
    record = make_record()
    return replace(record, failures=(CellFailure(Cell("SMOTE", "cnn", 0, 1), "no luck"),))


CLOSE = {("none", "svm"): 0.90, ("SMOTE", "svm"): 0.902}
SHARED = {"shared_lesions": 12, "shared_pictures": 50}
ALIKE = {"alike_across": 2, "alike_rows": [[3, 17], [4, 18]]}
RELABELLED = {"copies": 2, "relabelled": 2, "relabelled_rows": [3, 9]}
HAM_SWAPPED = [327, 514, 1099, 115, 142, 6705, 1113]

#: What makes each check speak, and a number or name that its sentence must hold.
TRIGGERS = {
    "SKM001": (lambda: make_record(split_facts=SHARED), "12 lesions"),
    "SKM002": (lambda: make_record(table={"lesions": None, "lesions_per_class": None}), "--metadata"),
    "SKM003": (lambda: make_record(split_facts=ALIKE), "2 pairs"),
    "SKM004": (lambda: make_record(table={"lesions_per_class": [20, 70, 90, 49, 400, 50, 90]}), "akiec 4"),
    "SKM005": (lambda: make_record(always_nv), "svm with SMOTE 0.095"),
    "SKM006": (lambda: make_record(skill={("none", "svm"): 0.9, ("SMOTE", "svm"): 0.4}), "0.400"),
    "SKM007": (lambda: make_record(never_df), "df"),
    "SKM008": (lambda: make_record(too_sure), "svm with SMOTE (0.000 to 0.38"),
    "SKM009": (lambda: make_record(skill=CLOSE), "svm without a sampler"),
    "SKM010": (
        lambda: make_record(skill=CLOSE),
        "1 of 1 differences from no sampler in macro-F1 is undecided",
    ),
    "SKM011": (lambda: make_record(swapped), "nv and mel"),
    "SKM012": (lambda: make_record(table={"rows_per_class": HAM_SWAPPED}), "nv 142 instead of 6,705"),
    "SKM013": (lambda: make_record(quick=True), "--quick"),
    "SKM014": (lambda: make_record(table={"synthetic": True}), "generated"),
    "SKM015": (failing, "1 of 10 cells"),
    "SKM016": (lambda: make_record(split_facts=RELABELLED), "rows 3 and 9, for example"),
    "SKM017": (lambda: make_record(split_facts={"copies": 7, "unlinked_copies": 2}), "7 of "),
    "SKM018": (
        lambda: make_record(split_facts={"alike_pairs": None, "alike_across": None}),
        "only exact copies",
    ),
}


def found_in(record):
    return {concern.check.code: concern.sentence for concern in analyze(record, draws=1).concerns}


def said_of(check, record):
    return check.find(analyze(record, draws=1))


def test_a_clean_run_is_met_with_silence():
    assert found_in(make_record()) == {}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_each_check_speaks(check):
    build, said = TRIGGERS[check.code]
    sentence = said_of(check, build())
    assert sentence is not None
    assert said in sentence
    assert sentence.endswith(".")
    assert said_of(check, make_record()) is None


@pytest.mark.parametrize(
    ("copies", "unlinked", "spoken"), [(2, 0, False), (2, 1, True), (400, 0, True), (0, 0, False)]
)
def test_a_few_copies_of_one_lesion_are_nothing_new(copies, unlinked, spoken):
    record = make_record(split_facts={"copies": copies, "unlinked_copies": unlinked})
    assert ("SKM017" in found_in(record)) == spoken


def test_codes_are_given_once_and_explained():
    codes = [check.code for check in CHECKS]
    assert codes == sorted(set(codes)) == sorted(TRIGGERS) == list(CONCLUSIONS)
    for check in CHECKS:
        assert check.severity in SEVERITIES
        page = (Path(__file__).parents[2] / "docs" / "pitfalls" / f"{check.code}.md").read_text("utf-8")
        assert page.startswith(f"# {check.code}: {check.title}\n\n**Severity:** {check.severity}")
        assert re.findall("^## (.*)$", page, re.M) == ["How it is found", "Why it matters", "What to do"]
        assert (f"**Lesson:** [{check.lesson_number}, " in page) == bool(check.lesson)
        assert check.lesson in page


@pytest.mark.parametrize(
    ("urls", "page"),
    [
        (None, "docs/pitfalls/SKM001.md"),
        (["Source, https://example.org/code"], "docs/pitfalls/SKM001.md"),
        (["Documentation, https://example.org/docs/"], "https://example.org/docs/pitfalls/SKM001.html"),
    ],
)
def test_a_check_names_its_page_by_address_where_there_is_one(urls, page, monkeypatch):
    found = Message()
    for url in urls or ():
        found["Project-URL"] = url
    monkeypatch.setattr("importlib.metadata.metadata", lambda name: found)
    assert CHECKS[0].page == page


@pytest.mark.parametrize("check", [one for one in CHECKS if one.lesson], ids=lambda check: check.code)
def test_checks_lead_to_lessons_that_are_there(check):
    script = Path(__file__).parents[2] / "experiments" / "lessons" / f"{check.lesson}.py"
    assert script.is_file()
    assert script.read_text(encoding="utf-8").startswith(f"# %% [markdown]\n# # {check.lesson_number}. ")


def test_errors_come_first_and_the_gravest_finding_first_within_them():
    record = make_record(split_facts=SHARED | ALIKE, quick=True, skill=CLOSE)
    concerns = analyze(record, draws=1).concerns
    severities = [concern.check.severity for concern in concerns]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert {"error", "warning", "note"} == set(severities)
    warnings = [concern.check.code for concern in concerns if concern.check.severity == "warning"]
    assert warnings == ["SKM013", "SKM009", "SKM003"]


def test_the_real_class_sizes_are_as_they_should_be():
    rows = {"rows_per_class": list(facts.ROWS_PER_CLASS), "rows": 10015}
    assert "SKM012" not in found_in(make_record(table=rows))
    few = {"rows_per_class": [50, 60, 70, 40, 300, 60, 200]}
    assert "SKM012" not in found_in(make_record(table=few))


def test_a_run_without_a_finished_cell_and_an_older_folder():
    record = make_record()
    empty = replace(record, results=(), predictions=record.predictions[:0], scores=record.scores[:0])
    assert found_in(empty) == {}
    assert found_in(replace(record, info=replace(record.info, split_facts=None))) == {}


def lacking(*places):
    """Leave out some cells, given by sampler and fold, as if they had never been planned."""
    record = make_record()
    kept = tuple(r for r in record.results if (r.cell.sampler, r.cell.fold) not in places)
    predictions = predictions_table(kept, NAMES)
    return replace(
        record, results=kept, predictions=predictions, scores=score_predictions(predictions, NAMES)
    )


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([("none", 4)], "(svm without a sampler 4 of 5)."),
        (
            [("none", 4), ("SMOTE", 0)],
            "(svm without a sampler 4 of 5, svm with SMOTE 4 of 5).",
        ),
        ([("none", 4), ("SMOTE", 4)], None),
    ],
)
def test_pairs_with_different_cells_are_named(places, said):
    sentence = found_in(lacking(*places)).get("SKM015")
    assert sentence is None if said is None else said in sentence


@pytest.mark.parametrize("pending", [False, True], ids=["none left", "one left"])
@pytest.mark.parametrize("interrupted", [False, True], ids=["ended", "interrupted"])
def test_the_advice_on_lacking_cells_depends_on_whether_the_run_is_finished(interrupted, pending):
    record = lacking(("none", 4))
    entries = (
        replace(entry, status="pending") if pending and entry.cell == Cell("none", "svm", 0, 4) else entry
        for entry in record.info.cells
    )
    info = replace(record.info, interrupted=interrupted, cells=tuple(entries))
    advice = found_in(replace(record, info=info))["SKM015"].partition("; ")[2]
    repeats = "run all samplers and models with the same number of repeats."
    assert advice == ("run the same command again." if interrupted or pending else repeats)


def test_retraining_on_the_same_held_out_pictures_lacks_nothing():
    record = lacking(*(("none", fold) for fold in range(1, FOLDS)))
    same = replace(record, info=replace(record.info, held_out=(("x",) * FOLDS,)))
    assert "SKM015" in found_in(record)
    assert "SKM015" not in found_in(same)


def test_two_folds_say_little():
    record = make_record()
    few = replace(
        record,
        results=tuple(r for r in record.results if r.cell.fold < 2),
        predictions=record.predictions[record.predictions["fold"] < 2],
        scores=record.scores[record.scores["fold"] < 2],
    )
    assert {"SKM009", "SKM010"} <= set(found_in(few))
    assert "no interval" not in found_in(make_record(skill=CLOSE))["SKM009"]
    assert "without an interval (fewer than 3 folds in common)" in found_in(few)["SKM009"]
    assert "95 % interval" not in found_in(few)["SKM009"]
    assert found_in(few)["SKM010"].endswith(": fewer than 3 folds in common.")


def test_an_accuracy_counts_as_lower_only_where_it_shows(monkeypatch):
    monkeypatch.setattr(standing, "majority_by_fold", lambda *_: ("nv", np.array([0.6694])))
    for mean, shown in ((0.6692, False), (0.6684, True)):
        scores = {("none", "svm"): np.array([mean])}
        monkeypatch.setattr(standing, "scores_by_fold", lambda *_, scores=scores: scores)
        assert (less_accurate(None) is not None) == shown


def test_a_lead_of_nothing_is_named_so():
    level = {("none", "svm"): 0.9, ("none", "forest"): 0.9}
    sentence = found_in(make_record(lambda p, labels, told, sure: (labels, 0.9), skill=level))["SKM009"]
    assert sentence.endswith(
        " are level in macro-F1 (95 % interval +0.000 to +0.000): the two are practically equal."
    )


def test_pairs_that_share_neither_sampler_nor_model_are_tested_by_themselves():
    far = make_record(skill={("none", "svm"): 0.5, ("SMOTE", "forest"): 0.9})
    assert "SKM009" not in found_in(far)
    near = make_record(skill={("none", "svm"): 0.9, ("SMOTE", "forest"): 0.902})
    assert "svm without a sampler" in found_in(near)["SKM009"]


def test_the_reason_for_an_undecided_difference_is_the_true_one():
    """One sampler alone is shown to be better; among twelve its interval reaches zero."""
    gain = np.array([0.03, 0.05, 0.07, 0.05, 0.05])
    noise = np.array([-0.05, 0.05, -0.05, 0.05, -0.05])
    fold = np.arange(FOLDS)
    values = {"none": 0.5 + 0.001 * fold, "S0": 0.5 + 0.001 * fold + gain}
    values |= {f"S{place}": 0.5 + noise for place in range(1, 12)}
    layout = {"model": "svm", "repeat": 0, "fold": fold, "metric": "macro_f1"}
    scores = pd.concat([pd.DataFrame({"sampler": name, **layout, "value": v}) for name, v in values.items()])
    clean = analyze(make_record(), draws=1)
    few = scores[scores["sampler"].isin(["none", "S0"])]
    assert undecided_differences(replace(clean, comparisons=compare_samplers(few, FOLDS))) is None
    said = undecided_differences(replace(clean, comparisons=compare_samplers(scores, FOLDS)))
    assert "12 of 12 differences" in said
    assert (
        "svm with S0 +0.050: its interval over folds excludes zero on its own, but not over 12 comparisons"
        in said
    )
    assert said.endswith("and 7 more: its interval over folds includes zero.")


def with_mix(record, mix, probabilities):
    """Change the class mix and the probabilities of the cells with SMOTE."""
    changed = [
        replace(result, training_mix=mix, probabilities=probabilities(result))
        if result.cell.sampler == "SMOTE"
        else result
        for result in record.results
    ]
    predictions = predictions_table(changed, NAMES)
    scores = score_predictions(predictions, NAMES)
    return replace(record, results=tuple(changed), predictions=predictions, scores=scores)


def test_calibration_that_an_imposed_mix_spoils_is_mended_by_the_frequencies():
    """Probabilities of none, as they would be at equal classes: at the natural mix they are those of none."""
    record = make_record(skill={("none", "svm"): 0.6, ("SMOTE", "svm"): 0.6})
    natural = COUNTS / COUNTS.sum()
    plain = {result.cell.fold: result for result in record.results if result.cell.sampler == "none"}

    def at_equal_classes(result):
        weighted = plain[result.cell.fold].probabilities / natural
        return weighted / weighted.sum(axis=1, keepdims=True)

    said = found_in(with_mix(record, np.full(7, 1 / 7), at_equal_classes))["SKM008"]
    before = record.scores.query("metric == 'ece' and sampler == 'none'")["value"].mean()
    assert f" Restoring the natural class mix corrects svm with SMOTE ({before:.3f})." in said
    said = found_in(with_mix(record, natural, at_equal_classes))["SKM008"]
    assert " svm with SMOTE had the natural class mix already, so there is none to restore." in said
    wrong = found_in(with_mix(record, np.roll(natural, 2), at_equal_classes))["SKM008"]
    assert " Restoring the natural class mix does not correct svm with SMOTE (" in wrong


def test_a_calibration_error_that_may_be_lower_is_mended():
    """The question is whether the error is still above that of none: it need not be shown to be equal."""
    spread = np.linspace(-0.012, 0.012, FOLDS)

    def said(gap):
        record = make_record(skill={("none", "svm"): 0.6, ("SMOTE", "svm"): 0.6})
        points = pd.DataFrame(
            [
                (sampler, "svm", 0, fold, rule, "ece", value + (sampler == "SMOTE") * spread[fold])
                for fold in range(FOLDS)
                for sampler, rule, value in (
                    ("none", "as_trained", 0.05),
                    ("SMOTE", "as_trained", 0.12),
                    ("none", "natural_prior", 0.05),
                    ("SMOTE", "natural_prior", 0.05 + gap),
                )
            ],
            columns=["sampler", "model", "repeat", "fold", "rule", "metric", "value"],
        )
        clean = analyze(with_mix(record, np.full(7, 1 / 7), lambda result: result.probabilities), draws=1)
        return hurt_calibration(replace(clean, operating_points=points))

    assert "mix corrects svm with SMOTE (0.040)." in said(-0.01)
    assert "Whether restoring the natural class mix corrects svm with SMOTE (0.055) is undecided." in said(
        0.005
    )
    assert "mix does not correct svm with SMOTE (0.110)." in said(0.06)


@pytest.mark.parametrize("guess", [False, True])
def test_an_answer_that_knows_nothing_is_no_swap_of_labels(guess):
    """Two equal classes in folds that differ a little: constant answers are wrong more often than not."""
    analysis = analyze(make_record(), draws=1)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        results = []
        for base in analysis.record.results[:FOLDS]:
            labels = np.repeat([4, 6], [53, 47] if base.cell.fold % 2 else [47, 53])
            rare = [4, 6][int(np.bincount(labels)[4] > 50)]
            told = rng.choice([4, 6], 100) if guess else np.full(100, rare)
            results.append(replace(base, labels=labels, probabilities=np.eye(7)[told]))
        record = replace(analysis.record, results=tuple(results))
        assert exchanged_classes(replace(analysis, record=record)) is None


def test_a_swap_in_one_fold_of_five_is_no_swap_of_labels():
    one = make_record(swapped).results[0]
    mixed = replace(make_record(), results=(one, *make_record().results[1:]))
    assert exchanged_classes(replace(analyze(make_record(), draws=1), record=mixed)) is None
