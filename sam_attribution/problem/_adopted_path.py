"""What is known of a training elsewhere: its checkpoints, in the place of recorded steps."""

import numpy as np
import torch

from sam_attribution.problem._path import TrainingPath
from sam_attribution.problem._path_point import PathPoint
from sam_attribution.training import Checkpoint, SavedWeights, inner_module


class CheckpointState:
    """Weights of a checkpoint, which are read when they are accessed; on the CPU.

    `time` is the sum of the learning rates before the middle of the steps that it stands for.
    """

    def __init__(self, reader, checkpoint, name, time):
        self._read = reader.read
        self.checkpoint = checkpoint
        self._name = name
        self.time = time

    @property
    def params(self):
        """Trainable parameters, shape (n_params,)."""
        return self._read(self.checkpoint.state, self._name)[0]

    @property
    def buffers(self):
        """Buffers by name."""
        return self._read(self.checkpoint.state, self._name)[1]


class AdoptedPath(TrainingPath):
    """The checkpoints of a net that ``from_module`` made; none of its steps is known.

    Each checkpoint that has a rate is a stretch of its own.
    """

    has_steps = False

    def __init__(self, net, X, y, sample_weight, layout):
        super().__init__(net, X, y, sample_weight, layout)
        self._n_rows = self._trajectory.fingerprint.n_samples
        self._batch_size, self._m_sharpness = net.batch_size, net.m_sharpness
        self._module = inner_module(net.module_)
        self._states_given = _states(self._module, net.trajectory_.checkpoints)
        self._stretches = [each for each in self._states_given if each.checkpoint.rate]

    @property
    def n_steps(self):
        """Number of checkpoints that stand for steps."""
        return len(self._stretches)

    @property
    def rho(self):
        return self._trajectory.rho

    @property
    def m_sharpness(self):
        return self._m_sharpness

    @property
    def mean_rates(self):
        rate = self._trajectory.rate or 0.0
        return np.full(len(self.group_settings), rate)

    @property
    def usual_rate(self):
        return self._trajectory.rate or 0.0

    @property
    def batch_size(self):
        return self._n_rows if self._batch_size == -1 else min(self._batch_size, self._n_rows)

    def some_batches(self, n_batches):
        return [(torch.arange(self.batch_size, device=self._device), 0)]

    @property
    def visited(self):
        return np.arange(self._n_rows)

    @property
    def taken(self):
        return np.ones(self.n_steps, dtype=bool)

    @property
    def learning_rates(self):
        """The rate of every checkpoint for each parameter group, shape (n_steps, n_groups)."""
        rates = np.array([each.checkpoint.rate for each in self._stretches], dtype=np.float64)
        return np.repeat(rates[:, None], len(self.group_settings), axis=1)

    @property
    def gradient_factors(self):
        return np.ones(self.n_steps)

    @property
    def recorded_states(self):
        self.check_states()
        return self._states_given

    @property
    def duration(self):
        return float(sum(each.checkpoint.rate for each in self._stretches))

    def time_of(self, state):
        return state.time

    def check_states(self):
        if not self._states_given:
            raise ValueError(
                "this needs states of the training, and from_module was given the final model "
                f"alone. Pass checkpoints= to {self._trajectory.kind}.from_module, or use a "
                'method of the final model, such as "hif" or "grad-dot".'
            )

    def accept_final_weights(self):
        """Let the final weights stand for the training if there is no checkpoint."""
        if not self._states_given:
            final = Checkpoint(self._module.state_dict(), rate=1)
            self._states_given = _states(self._module, [final])
            self._stretches = list(self._states_given)

    def check_replay(self, what):
        self._trajectory.check_replay(what)

    def epoch_of(self, step):
        """None: no epoch of the training is known."""

    def epoch_at(self, state):
        """None: no epoch of the training is known."""

    def epochs_of(self, steps):
        """Number of the checkpoint, counted from 1, as first and last."""
        return steps[0] + 1, steps[0] + 1

    def n_repeated(self, n_checkpoints):
        self._check_number(n_checkpoints)
        return 0

    def checkpoints(self, n_checkpoints, rates):
        """The checkpoints that stand for steps, with their `rates`."""
        self._check_number(n_checkpoints)
        for number, state in enumerate(self._stretches):
            yield self._point_at(state, self.spread(rates.table[number]), number)

    def every_step(self, rates):
        self.check_replay("n_checkpoints=None")

    def states(self):
        self.check_replay("this method")

    def states_backwards(self, **options):
        self.check_replay("this method")

    def trained_again(self, seed):
        self.check_replay("training again from another seed")

    def nearest(self, step):
        self.check_replay("this method")

    def _point_at(self, state, rate, number):
        given = state.checkpoint
        rows = None if given.rows is None else torch.as_tensor(given.rows, device=self._device)
        return PathPoint(
            params=state.params.to(self._device),
            buffers={name: b.to(self._device) for name, b in state.buffers.items()},
            rows=rows,
            rate=rate,
            rho=self.rho if given.rho is None else given.rho,
            steps=(number, number + 1),
            seed=None if rows is None else 0,
            m_sharpness=None if rows is None else self._m_sharpness,
            masks_are_known=False,
        )

    def _check_number(self, n_checkpoints):
        self.check_states()
        if n_checkpoints is None:
            self.check_replay("n_checkpoints=None")
        if n_checkpoints not in ("recorded", self.n_steps):
            raise ValueError(
                f"n_checkpoints={n_checkpoints} would need other states than the {self.n_steps} "
                'checkpoints that from_module was given. Leave it at "recorded".'
            )


def _states(module, checkpoints):
    reader, time, states = SavedWeights(module), 0.0, []
    for number, checkpoint in enumerate(checkpoints):
        middle = time + checkpoint.rate / 2
        states.append(CheckpointState(reader, checkpoint, f"checkpoints[{number}]", middle))
        time += checkpoint.rate
    return states
