import pytest

from skinmnist.names import KINDS, closest, did_you_mean, known_spelling, unknown_name

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
