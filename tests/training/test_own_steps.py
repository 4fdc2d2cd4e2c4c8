"""A training step of a user's own that leaves that of the package out."""

import numpy as np
import pytest

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.retraining import FurtherTraining
from sam_attribution.training import ConformantNet

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
y = np.arange(12) % 3
NAMED = r"^(.*fails: )?Own has a train_step of its own that does not call super\(\)"


def own(net):
    class Own(net):
        def train_step(self, batch, **fit_params):
            self.optimizer_.zero_grad()
            step = self.train_step_single(batch, **fit_params)
            self.optimizer_.step()
            return step

    return Own


def test_a_step_that_is_not_recorded_trains_but_cannot_be_scored():
    net = own(SAMClassifier)(max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"cannot be used: Own has a train_step of its own"):
        SAMInfluence(net, method="gif", validation=ValidationData(X, y)).fit(X, y)


def test_a_step_that_reads_no_sample_weights_is_named():
    net = own(ConformantNet)(max_epochs=1, random_state=0)
    assert net.fit(X, y).n_features_in_ == 4
    with pytest.raises(ValueError, match=NAMED):
        net.fit(X, y, sample_weight=np.ones(12))


def test_a_repeated_step_that_leaves_no_row_out_is_named():
    trained = SAMClassifier(max_epochs=1, random_state=0).fit(X, y)
    adopted = own(SAMClassifier).from_module(trained.module_, X, y, lr=0.1)
    method = FurtherTraining(n_epochs=1, n_seeds=1, rows=[0], random_state=0, verbose=0)
    with pytest.warns(AttributionWarning), pytest.raises(ValueError, match=NAMED):
        SAMInfluence(adopted, method=method, validation=ValidationData(X, y)).fit(X, y)
