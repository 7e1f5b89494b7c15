import pytest
from rich.cells import cell_len

from skinmnist.errors import InputError
from skinmnist.names import KINDS, closest, did_you_mean, find_pair, known_spelling, pair_name, unknown_name

KNOWN = ["none", "SMOTE", "ADASYN", "RandomOverSampler"]


@pytest.mark.parametrize("name", KNOWN)
def test_names_ignore_case_and_others_stay(name):
    assert {known_spelling(form, KNOWN) for form in (name, name.lower(), name.upper())} == {name}
    assert known_spelling("Mine", KNOWN) == "Mine"


def test_the_exact_spelling_comes_first():
    assert known_spelling("smote", ["SMOTE", "smote"]) == "smote"


@pytest.mark.parametrize("name", KNOWN)
def test_one_letter_less_is_recognised(name):
    assert {closest(name[:i] + name[i + 1 :], KNOWN) for i in range(len(name))} == {name}


def test_nothing_is_suggested_for_what_is_like_nothing():
    assert closest("zzzzzz", KNOWN) is None
    assert did_you_mean("zzzzzz", KNOWN) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_one_sentence_that_says_where_names_stand(kind):
    for name in ("smotee", "zzzzzz"):
        sentence = str(unknown_name(kind, name, KNOWN))
        assert f"unknown {kind} '{name}'; " in sentence
        assert f"`skinmnist list {kind}s` shows" in sentence


@pytest.mark.parametrize("longest", [20, 44, 120])
@pytest.mark.parametrize(
    ("sampler", "model"), [("none", "svm"), ("S" * 99, "svm"), ("none", "m" * 99), ("é" * 70, "x" * 70)]
)
def test_names_of_pairs_fit_and_keep_both_names(sampler, model, longest):
    name = pair_name((sampler, model), longest)
    assert cell_len(name) <= longest
    first, second = name.split(" + ")
    assert first[0] == sampler[0]
    assert second[-1] == model[-1]
    if len(sampler) + len(model) + 3 <= longest:
        assert (first, second) == (sampler, model)


def test_pairs_are_found_whatever_their_case_and_spaces():
    pairs = [("none", "svm"), ("SMOTE", "svm"), ("SMOTE", "svm+clinical")]
    assert find_pair("smote +SVM+Clinical", pairs) == ("SMOTE", "svm+clinical")
    assert find_pair(["SMOTE", "svm"], pairs) == ("SMOTE", "svm")
    for named, sentence in {
        "svm + SMOTE": "unknown pair 'svm + SMOTE'; did you mean 'SMOTE + svm'?",
        "SMOT + svm": "unknown pair 'SMOT + svm'; did you mean 'SMOTE + svm'?",
        "x": "unknown pair 'x'; expected a sampler and a model of this run: none + svm, SMOTE + svm, "
        "SMOTE + svm+clinical",
        None: "received None as a pair; expected text such as 'none + svm'",
        ("SMOTE", 1): "received ('SMOTE', 1) as a pair; expected text such as 'none + svm'",
    }.items():
        with pytest.raises(InputError) as caught:
            find_pair(named, pairs)
        assert str(caught.value) == sentence
