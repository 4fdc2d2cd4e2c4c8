"""Trainings in the processes of torchrun: ``torchrun -m tests.training.two_processes folder``."""

import pickle
import sys
from pathlib import Path

import accelerate
import numpy as np
from accelerate import Accelerator
from sklearn.frozen import FrozenEstimator
from skorch.hf import AccelerateMixin
from torch import nn

from sam_attribution import SAMInfluence, ValidationData
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
# before, accelerate cannot even out the batches of a sampler that has no batch_size
VERSION = tuple(map(int, accelerate.__version__.split(".")[:2]))
WEIGHTS = np.linspace(0.5, 1.5, 41)


class Net(SAMMixin, AccelerateMixin, ConformantNet):
    """As the documentation has it."""


def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 5)).astype("float32")
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.7)


def flat(net):
    return nn.utils.parameters_to_vector(net.module_.parameters()).detach().numpy()


def scores_of(net, X, y):
    """Scores by methods of the final model, shape (2, n_rows)."""
    held_out, frozen = ValidationData(X[:20], y[:20]), FrozenEstimator(net)
    methods = HIF(damping=0.1), EKFAC()
    return [SAMInfluence(frozen, method=m, validation=held_out).fit(X, y).scores_ for m in methods]


def without_first(net, X, y):
    """Weights as if the first row had not been there, by GIF."""
    held_out, frozen = ValidationData(X[:20], y[:20]), FrozenEstimator(net)
    influence = SAMInfluence(frozen, method="gif", validation=held_out).fit(X, y)
    return flat(influence.remove([0], how="linear"))


def noisy():
    """A module whose statistics and masks are those of a batch."""
    return nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3)
    )


def uneven(accelerator, folder):
    """A net whose processes have batches of 11 and 10 rows, weighted, in an order drawn by one."""
    X, y = rows()
    settings = {**SETTINGS, "module": noisy, "random_state": None, "trajectory": "all"}
    settings = {name: value for name, value in settings.items() if "features" not in name}
    settings |= {"trajectory_dir": folder, "callbacks__print_log__sink": print}
    net = Net(accelerator=accelerator, batch_size=11, **settings)
    return net.fit(X[:41], y[:41], sample_weight=WEIGHTS)


def error_of(function, *args):
    try:
        function(*args)
    except ValueError as error:
        return str(error)


def main(folder):
    accelerator, folder = Accelerator(cpu=True), Path(folder)
    accelerator.even_batches = VERSION >= (1, 14)
    X, y = rows()
    net = Net(accelerator=accelerator, batch_size=BATCH_SIZE, **SETTINGS).fit(X, y)
    other = uneven(accelerator, folder / "run")
    alone = accelerator.is_main_process
    np.savez(
        folder / f"{accelerator.process_index}.npz",
        n_processes=accelerator.num_processes,
        weights=flat(net),
        probabilities=net.predict_proba(X),
        history=net.history[:, "train_loss"],
        scores=scores_of(net, X, y) if alone else [],
        edited=without_first(net, X, y) if alone else [],
        uneven=flat(other),
        **{name: buffer.numpy() for name, buffer in other.module_.named_buffers()},
    )
    (folder / f"{accelerator.process_index}.pkl").write_bytes(pickle.dumps((net, other)))
    accelerator.even_batches = False
    errors = [
        error_of(net.partial_fit, X, y),
        error_of(Net(accelerator=accelerator, batch_size=22, **SETTINGS).fit, X, y),
    ]
    (folder / f"{accelerator.process_index}.txt").write_text("\n".join(errors))


if __name__ == "__main__":
    from tests.training import two_processes  # pickle finds its classes by this name

    two_processes.main(sys.argv[1])
