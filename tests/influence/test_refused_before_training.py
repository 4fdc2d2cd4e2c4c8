"""What a method cannot do with the settings of a training is said before that begins."""

import pytest
import torch
from skorch.callbacks import GradientNormClipping

from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.methods import EKFAC, GIF, TRAK, IntegratedUnrolled, SelfInfluence, Unrolled
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from tests.adopted import VALIDATION, X, Y, module

NO_STATES = {"trajectory": None}
CLIPPED = {"callbacks": [GradientNormClipping(0.1)]}


class NeverTrained(SAMClassifier):
    """Its training is a failure of the test."""

    def fit_loop(self, *args, **kwargs):
        raise AssertionError("training has begun")


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("gif", NO_STATES, "trajectory=None. Set trajectory=.auto"),
        (GIF(n_checkpoints=None), NO_STATES, "trajectory=None"),
        ("tracin", NO_STATES, "trajectory=None"),
        ("self-influence", NO_STATES, "trajectory=None"),
        ("unrolled", NO_STATES, "trajectory=None"),
        ("unrolled-segments", NO_STATES, "trajectory=None"),
        ("integrated-unrolled", NO_STATES, "trajectory=None"),
        ("loo", NO_STATES, "trajectory=None"),
        (TRAK(n_checkpoints="recorded"), NO_STATES, "trajectory=None"),
        (EKFAC(damping="training"), {"optimizer": torch.optim.RMSprop}, "not for RMSprop"),
        (Unrolled(ascent="fixed", at="w"), CLIPPED, r"may clip\..* FrozenEstimator"),
        (TRAK(proj_dim=33), {}, "at most the number of rows, 32, got 33"),
        (IntegratedUnrolled(n_groups=33), {}, "between 2 and .* 32, got 33"),
        (LeaveOneOut(groups=[0] * 32), {}, "holds all 32 rows"),
        (LeaveOneOut(resume_dir=__file__), {}, "resume_dir must be a folder"),
        (FixedPoint(resume_dir=__file__), {}, "resume_dir must be a folder"),
        (FurtherTraining(rows=[0], adjustment="mean"), {}, "compares rows .* got 1 to leave out"),
    ],
)
def test_settings(method, settings, message):
    net = NeverTrained(module(), dtype="float64", random_state=0, **settings)
    with pytest.raises(ValueError, match=message):
        SAMInfluence(net, method=method, validation=VALIDATION).fit(X, Y)


@pytest.mark.parametrize("asked", [{"evaluation": "margin"}, {"aggregate": "worst-class"}])
def test_a_question_to_a_method_that_answers_none(asked):
    net = NeverTrained(module(), dtype="float64")
    influence = SAMInfluence(net, method=SelfInfluence(), validation=VALIDATION, **asked)
    with pytest.raises(ValueError, match="by its own training loss"):
        influence.fit(X, Y)


def test_effects_among_scores_of_a_row_for_itself():
    net = NeverTrained(module(), dtype="float64")
    settings = {"validation": VALIDATION, "refine": 6, "calibrate": True}
    influence = SAMInfluence(net, method="self-influence", **settings)
    with pytest.raises(ValueError, match="each row by its own loss"):
        influence.fit(X, Y)


def test_clipping_that_does_nothing_is_none():
    """A callback without a limit may stand for one that is to be searched over."""
    net = NeverTrained(module(), dtype="float64", callbacks=[("clip", GradientNormClipping(None))])
    influence = SAMInfluence(net, method=Unrolled(ascent="fixed", at="w"), validation=VALIDATION)
    with pytest.raises(AssertionError, match="training has begun"):
        influence.fit(X, Y)
