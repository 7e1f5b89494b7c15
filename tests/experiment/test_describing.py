import numpy as np

from skinmnist.experiment.inputs import extract_table_features
from skinmnist.experiment.splits import LEFT_OUT


def test_features_are_extracted_once_and_only_of_rows_in_folds(lesions):
    calls = []

    def extract(rows, shape):
        calls.append(len(rows))
        return rows[:, :5].astype(np.float32) + shape[0]

    fold_of = np.zeros(len(lesions), dtype=np.int8)
    fold_of[10:20] = LEFT_OUT
    first = extract_table_features(lesions, extract, fold_of)
    fold_of[:10] = 1
    again = extract_table_features(lesions, extract, fold_of)
    assert again is first
    assert calls == [len(lesions) - 10]
    assert np.isnan(first.values[10:20]).all()
    np.testing.assert_array_equal(first.values[:10], lesions.pixels[:10, :5] + 8.0)
    assert 0 < first.seconds < 1

    fold_of[10:20] = 0
    assert not np.isnan(extract_table_features(lesions, extract, fold_of).values).any()
