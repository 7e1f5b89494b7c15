import pytest

from skinmnist.datasets.images.progress_file import Journal

OUTCOMES = [b"abcdefgh", "received a damaged picture: ß", b"", b"\x00" * 8, b"12345678"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "t.csv.part"
    with Journal(path, b"digest") as journal:
        for outcome in OUTCOMES:
            journal.append(outcome)
    return path


def kept(path, digest=b"digest"):
    return list(Journal(path, digest).outcomes())


def test_what_is_noted_is_kept(path):
    assert kept(path) == OUTCOMES
    with Journal(path, b"digest") as journal:
        assert journal.count == 5
        journal.append(b"more")
    assert kept(path) == [*OUTCOMES, b"more"]


def test_a_torn_end_is_cut_off_wherever_it_was_torn(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        outcomes = kept(path)
        assert outcomes == OUTCOMES[: len(outcomes)]
        assert len(outcomes) < 5
        with Journal(path, b"digest") as journal:
            for outcome in OUTCOMES[journal.count :]:
                journal.append(outcome)
        assert path.read_bytes() == whole


def test_a_changed_byte_ends_what_is_believed(path):
    whole = bytearray(path.read_bytes())
    for position in range(6, len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        assert kept(path) == OUTCOMES[: len(kept(path))] != OUTCOMES


def test_zeros_are_no_record(path):
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert kept(path) == OUTCOMES


def test_a_journal_of_something_else_is_written_over(path):
    with Journal(path, b"another") as journal:
        assert journal.count == 0
        journal.append(b"x")
    assert kept(path, b"another") == [b"x"]
    assert kept(path) == []
