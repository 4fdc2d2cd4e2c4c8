"""A training in the processes that torchrun starts: ``torchrun two_processes.py folder``."""

import sys
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from sklearn.frozen import FrozenEstimator
from skorch.hf import AccelerateMixin
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import EKFAC, HIF
from sam_attribution.training import ConformantNet, SAMMixin

N_ROWS, BATCH_SIZE = 64, 16
SETTINGS = {
    "module": nn.Linear,
    "module__in_features": 5,
    "module__out_features": 3,
    "max_epochs": 2,
    "lr": 0.1,
    "rho": 0.2,
    "random_state": 0,
}


class Net(SAMMixin, AccelerateMixin, ConformantNet):
    """As the documentation has it."""


def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 5)).astype("float32")
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.7)


def flat(net):
    return nn.utils.parameters_to_vector(net.module_.parameters()).detach().numpy()


def refusal_of(net, X, y):
    try:
        net.replay(X, y)
    except ValueError as error:
        return str(error)


def scores_of(net, X, y):
    """Scores by methods of the final model, shape (2, n_rows)."""
    held_out, frozen = ValidationData(X[:20], y[:20]), FrozenEstimator(net)
    methods = HIF(damping=0.1), EKFAC()
    return [SAMInfluence(frozen, method=m, validation=held_out).fit(X, y).scores_ for m in methods]


def scores_of_final_model(net, X, y):
    """Scores of a net that takes over the weights, in this process alone."""
    final = SAMClassifier(net.module_, lr=0, rho=net.rho, max_epochs=1).fit(X, y)
    return scores_of(final, X, y)


def main(folder):
    accelerator = Accelerator(cpu=True)
    X, y = rows()
    net = Net(accelerator=accelerator, batch_size=BATCH_SIZE, **SETTINGS).fit(X, y)
    alone = accelerator.is_main_process
    np.savez(
        Path(folder) / f"{accelerator.process_index}.npz",
        n_processes=accelerator.num_processes,
        weights=flat(net),
        probabilities=net.predict_proba(X),
        rows=np.concatenate([step.indices for step in net.trajectory_.schedule]),
        refusal=refusal_of(net, X, y),
        scores=scores_of_final_model(net, X, y) if alone else [],
    )


if __name__ == "__main__":
    main(sys.argv[1])
