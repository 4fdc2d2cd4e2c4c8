import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sam_attribution._validation import forget_fit


class Centred(TransformerMixin, BaseEstimator):
    def __init__(self, inner=None, *, rate=0.1):
        self.inner = inner
        self.rate = rate

    def fit(self, X, sample_weight=None):
        self.mean_, self.n_rows_ = X.mean(), len(X)
        return self

    def transform(self, X):
        return X - self.mean_

    def get_feature_names_out(self, input_features=None):
        return input_features


def fitted():
    inner = Centred()
    inner.mean_ = 0.0
    estimator = Centred(inner, rate=0.5)
    estimator.mean_, estimator.n_rows_ = 1.0, 3
    return estimator


def test_every_fitted_attribute_is_forgotten():
    estimator = fitted()
    forget_fit(estimator)
    assert set(vars(estimator)) == {"inner", "rate"}
    assert estimator.rate == 0.5
    assert estimator.inner.mean_ == 0.0  # an object of the user's
    with pytest.raises(NotFittedError, match="not fitted"):
        check_is_fitted(estimator)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_settings_that_are_no_parameters_stay_as_in_a_clone():
    estimator = fitted().set_fit_request(sample_weight=True).set_output(transform="pandas")
    estimator._parent = object()  # as scikit-learn notes the search that fits it
    forget_fit(estimator)
    assert set(vars(estimator)) == {*vars(clone(estimator)), "_parent"}
    assert estimator.get_metadata_routing().fit.requests == {"sample_weight": True}
