"""Runs in one folder are merged where their cells may stand together, and parts must fit each other."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from described import described, invent_info

from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.run_info import (
    CellEntry,
    Grid,
    ModelInfo,
    RunInfo,
    Session,
    check_same_protocol,
)

HELD_OUT = (("a", "b", "c", "d", "e"),)


def one(sampler="none", model="svm", new_cells=1, status="done", **changes):
    entry = CellEntry(sampler, model, 0, 0, status, file="x.cell" if status == "done" else "")
    info = invent_info(
        grid={"samplers": [sampler], "models": {model: {"title": model}}},
        fingerprints={model: "print"},
    )
    session = Session("run", new_cells, 1.5, 100.0)
    return replace(info, **{"cells": (entry,), "held_out": HELD_OUT, "sessions": (session,)} | changes)


def test_a_first_run_is_its_own():
    info = one().merged_with(None)
    assert (info.wall_seconds, info.peak_memory_mb) == (1.5, 100.0)
    assert replace(info, wall_seconds=None, peak_memory_mb=None) == one()


def test_grids_grow_in_the_order_of_the_tables():
    info = one("none", "random_forest").merged_with(one("SMOTE", "svm").merged_with(None))
    assert info.grid.samplers == ("none", "SMOTE")
    assert list(info.grid.models) == ["svm", "random_forest"]
    assert [entry.model for entry in info.cells] == ["random_forest", "svm"]
    assert info.wall_seconds == 3.0


def test_merging_twice_changes_nothing_but_the_sessions():
    info = one().merged_with(one("SMOTE"))
    again = one(new_cells=0).merged_with(info)
    assert again == info


def test_what_is_known_anew_replaces_what_was():
    info = one(status="failed").merged_with(one())
    assert [entry.status for entry in info.cells] == ["failed"]


def test_cells_of_other_code_are_left_out_with_a_note():
    info = one().merged_with(one("SMOTE", identity="before"))
    assert [entry.sampler for entry in info.cells] == ["none"]
    assert info.grid == Grid(("none",), {"svm": ModelInfo("svm")})
    assert any("other versions of the code" in note for note in info.notes)


def test_a_model_that_changed_takes_its_cells_along():
    info = one().merged_with(one("SMOTE", fingerprints={"svm": "before"}))
    assert [entry.sampler for entry in info.cells] == ["none"]
    assert "svm has changed: its earlier cells were left out" in info.notes


ALL = {"svm", "cnn", "svm+clinical", "both", "fused"}


@pytest.mark.parametrize(
    ("changes", "left", "noted"),
    [
        ({}, ALL, []),
        ({"fingerprints": {"svm+clinical": "of that table", "both": "of that table"}}, ALL, []),
        ({"fingerprints": {"svm": "other"}}, {"cnn"}, ["svm", "svm+clinical", "both", "fused"]),
        ({"fingerprints": {"cnn": "other"}}, {"svm", "svm+clinical"}, ["cnn", "both", "fused"]),
        ({"fingerprints": {"none": "other"}}, set(), ["none", "fused"]),
        ({"clinical": ("sex",)}, {"svm", "cnn", "both"}, ["svm+clinical", "fused"]),
        ({"members": ("svm", "forest")}, ALL - {"both"}, ["both"]),
        ({"main_identity": "of other code"}, set(), ["the external test"]),
        ({"main_identity": ""}, ALL, []),
        ({"main_identity": "", "versions": {"numpy": "1"}}, set(), ["the external test"]),
        ({"main_identity": "", "skinmnist": "0.0.1"}, set(), ["the external test"]),
    ],
)
def test_results_of_an_external_test_are_those_of_the_models_of_the_run(changes, left, noted):
    def tested(clinical=("age",), members=("svm", "cnn"), fingerprints=None, **changes):
        models = {name: ModelInfo(name) for name in ("svm", "cnn")}
        models["svm+clinical"] = ModelInfo("svm", base="svm", clinical=clinical)
        models |= {"both": ModelInfo("both", members=members)}
        models |= {"fused": ModelInfo("fused", members=("none + svm+clinical", "cnn"))}
        prints = dict.fromkeys(["none", *models], "print") | (fingerprints or {})
        cells = tuple(CellEntry("none", model, 0, 0, "done", "x.cell") for model in models)
        return one(cells=cells, grid=Grid(("none",), models), fingerprints=prints, **changes)

    main = tested()
    external = tested(**{"main_identity": main.identity} | changes)
    assert {entry.model for entry in external.without_outdated(main).cells} == left
    notes = main.with_notes_on(external).notes[len(main.notes) :]
    assert len(notes) == len(noted)
    assert all(note.startswith(words) for note, words in zip(notes, noted, strict=True))


def test_more_repeats_stay():
    earlier = one(repeats=2, held_out=HELD_OUT * 2)
    info = one().merged_with(earlier)
    assert (info.repeats, info.held_out) == (2, HELD_OUT * 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"rows": 2}, None),  # Older versions counted the rows of the first pair only.
        ({"rows": 2, "assignment": "other"}, "holds a run with rows 2 instead of 10"),
        ({"assignment": "other"}, "holds a run with other rows"),
        ({"rows": 2, "data": "other"}, "holds a run with other data"),
        ({"seed": 1}, "holds a run with seed 1 instead of 0"),
    ],
)
def test_folders_of_another_protocol_are_refused(tmp_path, changes, said):
    wanted = replace(one().protocol, rows=10, seed=0, assignment="same")
    stored = one(protocol=replace(wanted, **changes))
    with nullcontext() if said is None else pytest.raises(InputError, match=said):
        check_same_protocol(stored, wanted, tmp_path)


CELL = {"sampler": "none", "model": "svm", "repeat": 0, "fold": 0, "status": "pending"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 3}, "seed is 3, expected that of the protocol, 0"),
        ({"protocol": {"rows": 2}}, "protocol.rows is 2"),
        ({"protocol": {"folds": 4}}, "held_out is"),
        ({"repeats": 2}, "held_out is"),
        ({"table": {"class_names": ["nv", "nv"]}}, "table.class_names is"),
        ({"table": {"rows_per_class": [2]}}, "table.rows_per_class is"),
        ({"cells": [CELL, CELL]}, "cells[1] is"),
        ({"cells": [CELL | {"fold": 5}]}, "cells[0] is [0, 5]"),
        ({"cells": [CELL | {"model": "cnn"}]}, "cells[0] is ['none', 'cnn']"),
        ({"cells": [CELL | {"status": "done", "file": "../x"}]}, "cells[0].file is '../x'"),
    ],
)
def test_parts_that_contradict_each_other_are_named(change, said):
    whole = {
        "held_out": [list(HELD_OUT[0])],
        "grid": {"samplers": ["none"], "models": {"svm": {"title": "SVM"}}},
    }
    RunInfo.from_json(described(whole))
    with pytest.raises(ValueError, match="expected") as refused:
        RunInfo.from_json(described(whole | change))
    assert str(refused.value).startswith(said)
