"""What SAMInfluence asks of a method, and when."""

import pytest

from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import EKFAC, GIF, HIF, TRAK, GradDot, SelfInfluence, Unrolled
from sam_attribution.retraining import LeaveOneOut
from sam_attribution.training import SAMClassifier
from tests.models import fitted_problem, tabular


def never_called(self, X, y=None, **fit_params):
    raise AssertionError("trained")


@pytest.mark.parametrize("method", [GIF(n_checkpoints=0), HIF(damping=-1), EKFAC(n_draws=0)])
def test_wrong_settings_are_named_before_any_training(method, monkeypatch):
    monkeypatch.setattr(SAMClassifier, "fit", never_called)
    X, y, _ = tabular()
    with pytest.raises(ValueError, match=f"parameter of {type(method).__name__} must be"):
        SAMInfluence(SAMClassifier(max_epochs=1), method=method).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "found"),
    [(GIF(), True), (HIF(damping=0.5), True), (EKFAC(), True), (Unrolled(), True),
     (GradDot(), False), (TRAK(), False), (SelfInfluence(), False),
     (LeaveOneOut(rows=[1]), False)],
)  # fmt: skip
def test_a_method_that_predicts_no_weights_has_no_removal_step(method, found):
    prepared = method.prepare(fitted_problem("mlp"))
    assert (prepared.removal_step is not None) == found


def test_the_check_of_smoothness_is_a_setting_of_the_method():
    assert Unrolled().check == "rows"
    assert GIF().check is None
