"""Numbers of the other byte order, as FITS files hold them, give the same scores."""

import io

import numpy as np
import pandas as pd
import pytest
from torch import nn

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    SAMNet,
    SAMRegressor,
    ValidationData,
)
from sam_attribution.detection import label_issues
from sam_attribution.review import apply_decisions, review_page
from tests.models import tabular

X, y, weight = tabular(40)
PROBA = np.eye(3)[y] * 0.7 + 0.1
TOKENS = np.stack([y, 2 - y], axis=1)


def turned(data):
    """The same numbers in the other byte order."""
    if isinstance(data, pd.DataFrame):
        return pd.DataFrame({name: turned(part.to_numpy()) for name, part in data.items()})
    return data.astype(data.dtype.newbyteorder())


def same(data):
    return data


def net(kind=SAMClassifier, module=None, **settings):
    return kind(module, max_epochs=2, random_state=0, **settings)


def embedding():
    return nn.Sequential(nn.Embedding(3, 4), nn.Flatten(), nn.Linear(8, 3))


def decisions():
    return io.StringIO(f"row,given,decision,label\n0,{y[0]},remove,\n1,{y[1]},relabel,2\n")


DOORS = {
    "classifier": lambda as_: net().fit(as_(X), as_(y), as_(weight)).predict_proba(as_(X)),
    "table": lambda as_: net().fit(as_(pd.DataFrame(X)), y).predict_proba(X),
    "tokens": lambda as_: net(module=embedding).fit(as_(TOKENS), y).predict_proba(as_(TOKENS)),
    "regressor": lambda as_: net(SAMRegressor).fit(as_(X), as_(X[:, 0])).predict(X),
    "any net": lambda as_: (
        net(SAMNet, lambda: nn.Linear(6, 2), criterion=nn.MSELoss)
        .fit(as_(X), as_(X[:, :2]))
        .predict(X)
    ),
    "detector": lambda as_: MislabelDetector(net(), random_state=0).fit(as_(X), as_(y)).scores_,
    "detector of a table": lambda as_: (
        MislabelDetector(net(), random_state=0)
        .fit(as_(pd.DataFrame(X)), pd.Series(as_(y)))
        .issues_["score"]
    ),
    "influence": lambda as_: (
        SAMInfluence(
            net(), method="grad-dot", validation=ValidationData(as_(X), as_(y)), random_state=0
        )
        .fit(as_(X), as_(y))
        .attribute(as_(X[:3]), as_(y[:3]))
    ),
    "filter": lambda as_: (
        FilteredClassifier(net(), random_state=0).fit(as_(pd.DataFrame(X)), pd.Series(as_(y))).kept_
    ),
    "label_issues": lambda as_: label_issues(as_(y), as_(PROBA)).scores,
    "decisions": lambda as_: apply_decisions(as_(pd.DataFrame(X)), as_(y), decisions())[1],
}


@pytest.mark.filterwarnings("ignore::sam_attribution.exceptions.AttributionWarning")
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_the_byte_order_does_not_matter(door):
    np.testing.assert_array_equal(door(turned), door(same))


def test_a_page_of_numbers_of_the_other_byte_order(tmp_path):
    pages = [
        review_page(
            tmp_path / f"{as_.__name__}.html",
            as_(X),
            given=as_(y),
            suggested=as_(y),
            scores=X[:, 0],
        )
        for as_ in (turned, same)
    ]
    rows = [page.read_text().partition('"content"')[2][:2000] for page in pages]
    assert rows[0] == rows[1]
