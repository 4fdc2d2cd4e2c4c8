"""A training whose steps are not those of the formula is found out."""

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.dynamics import TrainingState
from sam_attribution.methods import Unrolled
from sam_attribution.methods._sweep import check_same
from sam_attribution.problem import FunctionalTraining, problem_from_estimator

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 5)).astype("float32"), np.arange(40) % 3


def influence(dtype="float32", net=SAMClassifier, **settings):
    module = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    classifier = net(
        module, max_epochs=2, batch_size=10, random_state=0, trajectory="all", dtype=dtype,
        **settings,
    )  # fmt: skip
    validation = ValidationData(X[:10], y[:10])
    return SAMInfluence(classifier, method=Unrolled(check=None), validation=validation)


def changing(name, factor):
    """A net that multiplies what its module holds under a name, at the end of every step."""

    class Changing(SAMClassifier):
        def train_step(self, batch, **fit_params):
            step = super().train_step(batch, **fit_params)
            self.module_.state_dict()[name].mul_(factor)
            return step

    return Changing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "name", "change", "named"),
    [
        ("float32", "0.weight", 5e-6, "weights"),
        ("float64", "0.weight", 1e-9, "weights"),
        ("float32", "1.running_var", 1e-2, r"1\.running_var"),
        ("float64", "1.running_var", 1e-6, r"1\.running_var"),
    ],
)
def test_what_changes_after_a_step_is_found_out(dtype, name, change, named):
    settings = {"dtype": dtype, "lr": 1e-5}  # a step is some 1e-6 of the weights
    assert np.isfinite(influence(**settings).fit(X, y).scores_).all()
    changed = influence(**settings, net=changing(name, 1 + change))
    with pytest.raises(ValueError, match=rf"away from the recorded {named}"):
        changed.fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("lr", [0.1, 1e-3, 1e-6])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_rounding_is_no_change(lr, optimizer):
    found = influence(lr=lr, optimizer=optimizer).fit(X, y)
    assert np.isfinite(found.scores_).all()


def test_what_is_not_a_number_is_not_the_same():
    ones = TrainingState(torch.ones(3), {"mean": torch.ones(2)})
    for part in (ones._replace(params=torch.full((3,), torch.nan)),
                 ones._replace(buffers={"mean": torch.full((2,), torch.nan)})):  # fmt: skip
        with pytest.raises(ValueError, match="step 4 of training ends nan away"):
            check_same("step 4", part, ones, ones, ["mean"])
    check_same("step 4", ones, ones, ones, ["mean"])


class Jitter(nn.Module):
    """Multiplies by a random number of NumPy's stream in training."""

    def forward(self, x):
        return x * (1 + 0.3 * np.random.normal()) if self.training else x


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("layer", "others"), [(nn.Identity(), False), (nn.Dropout(0.3), False), (Jitter(), True)]
)
def test_steps_isolate_the_random_streams_that_the_module_draws_from(layer, others):
    module = nn.Sequential(nn.Linear(5, 6), layer, nn.Linear(6, 3))
    classifier = SAMClassifier(module, max_epochs=1, batch_size=10, random_state=0).fit(X, y)
    training = FunctionalTraining(problem_from_estimator(classifier, X, y))
    of_numpy, of_torch = np.random.get_state()[1].copy(), torch.get_rng_state()
    step = training.step(0)
    found = step.after(training.start(), torch.ones(10))
    assert step.others == others
    assert (np.random.get_state()[1] == of_numpy).all()
    assert torch.equal(torch.get_rng_state(), of_torch)
    if not others:  # the masks are those of training
        recorded = classifier.trajectory_.states[1].params
        torch.testing.assert_close(found.params, recorded, rtol=1e-5, atol=1e-6)
