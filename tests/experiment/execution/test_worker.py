"""Workers start with their libraries frozen."""

import gc
import sys

import pytest

from skinmnist.experiment.execution.worker import import_frozen


@pytest.fixture
def thawed():
    yield
    gc.unfreeze()


def test_what_was_imported_is_looked_through_no_more_and_the_rest_is(tmp_path, monkeypatch, thawed):
    (tmp_path / "library_of_a_test.py").write_text("import gc\nlooked = gc.isenabled()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import_frozen(["library_of_a_test"])
    assert not sys.modules.pop("library_of_a_test").looked
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000
    ring = []
    ring.append(ring)
    del ring
    assert gc.collect() > 0


def test_the_collector_works_on_where_a_library_is_missing(thawed):
    with pytest.raises(ModuleNotFoundError):
        import_frozen(["no_library_of_this_name"])
    assert gc.isenabled()
