"""A training in the processes that torchrun starts: ``torchrun two_processes.py folder``."""

import sys
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from skorch.hf import AccelerateMixin
from torch import nn

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


def main(folder):
    accelerator = Accelerator(cpu=True)
    X, y = rows()
    net = Net(accelerator=accelerator, batch_size=BATCH_SIZE, **SETTINGS).fit(X, y)
    np.savez(
        Path(folder) / f"{accelerator.process_index}.npz",
        n_processes=accelerator.num_processes,
        weights=flat(net),
        probabilities=net.predict_proba(X),
        rows=np.concatenate([step.indices for step in net.trajectory_.schedule]),
        refusal=refusal_of(net, X, y),
    )


if __name__ == "__main__":
    main(sys.argv[1])
