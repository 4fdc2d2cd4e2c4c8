"""Columns of ValidationData that are not those of the rows are an error before training."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, ValidationData
from tests.models import tabular

X, y, _ = tabular(40)
NAMES = list("abcdef")
TABLE = pd.DataFrame(X, columns=NAMES)
HELD_OUT = pd.DataFrame(*tabular(20, seed=1)[:1], columns=NAMES)
LABELS = tabular(20, seed=1)[1]


class NeverTrained(SAMClassifier):
    """Its training is a failure of the test."""

    def fit_loop(self, *args, **kwargs):
        raise AssertionError("training has begun")


ESTIMATORS = {
    "net": NeverTrained(max_epochs=1),
    "pipeline": make_pipeline(StandardScaler(), NeverTrained(max_epochs=1)),
}


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.parametrize(
    "columns", [list("bacdef"), list("abcdex")], ids=["another order", "another name"]
)
@pytest.mark.parametrize("kind", [MislabelDetector, SAMInfluence])
def test_other_columns_are_named_before_training(kind, columns, estimator):
    held_out = ValidationData(HELD_OUT.set_axis(columns, axis=1), LABELS)
    message = r"validation (must have the columns of X|cannot go through the steps)"
    with pytest.raises(ValueError, match=message):
        kind(estimator, validation=held_out).fit(TABLE, y)


def test_the_first_column_that_differs_is_named():
    held_out = ValidationData(HELD_OUT[list("acbdef")], LABELS)
    with pytest.raises(ValueError, match=r"got 'c' where X has 'b'.*X_validation\[X\.columns\]"):
        SAMInfluence(ESTIMATORS["net"], validation=held_out).fit(TABLE, y)


def test_numbers_as_names_in_another_order_are_not_paired_by_position():
    turned = pd.DataFrame(HELD_OUT.to_numpy())[[1, 0, 2, 3, 4, 5]]
    with pytest.raises(ValueError, match="validation must have the columns of X in the same order"):
        SAMInfluence(ESTIMATORS["net"], validation=ValidationData(turned, LABELS)).fit(
            pd.DataFrame(X), y
        )


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
def test_columns_that_say_nothing_are_paired_by_position():
    def scores(rows, held_out):
        net = SAMClassifier(max_epochs=1, random_state=0)
        held_out = ValidationData(held_out, LABELS)
        return SAMInfluence(net, method="grad-dot", validation=held_out).fit(rows, y).scores_

    expected = scores(X, HELD_OUT.to_numpy())
    for rows, held_out in [
        (TABLE, HELD_OUT),
        (TABLE, HELD_OUT.to_numpy()),
        (pd.DataFrame(X), HELD_OUT.set_axis(range(10, 16), axis=1)),
    ]:
        np.testing.assert_array_equal(scores(rows, held_out), expected)


def test_steps_may_take_columns_by_name():
    def scores(held_out):
        steps = make_column_transformer((StandardScaler(), NAMES))
        model = make_pipeline(steps, SAMClassifier(max_epochs=1, random_state=0))
        held_out = ValidationData(held_out, LABELS)
        return SAMInfluence(model, method="grad-dot", validation=held_out).fit(TABLE, y).scores_

    np.testing.assert_array_equal(scores(HELD_OUT[NAMES[::-1]]), scores(HELD_OUT))
