"""The recorded training as attribution sees it: states, batches and rates."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_attribution.training import equal_stretches


@dataclass(frozen=True, eq=False)
class PathPoint:
    """One visited state with the batch that was drawn there.

    Attributes
    ----------
    params : Tensor of shape (n_params,)
    buffers : dict of str to Tensor
    rows : Tensor of positions
        The batch of the step that starts here.
    rate : float or Tensor of shape (n_params,)
        Rate that this point stands for: one step's, or the sum over its stretch.
    rho : float
        Radius of the perturbation at that step.
    """

    params: Tensor
    buffers: dict[str, Tensor]
    rows: Tensor
    rate: float | Tensor
    rho: float


class TrainingPath:
    """States, batches and rates of one fitted classifier.

    Parameters
    ----------
    classifier : SAMClassifier
        Fitted; its ``trajectory_`` holds the schedule and some states, its ``replay``
        recomputes the others.
    X, y, sample_weight : array-like
        The rows it was fitted on, as given to ``fit``.
    layout : ParameterLayout
    """

    def __init__(self, classifier, X, y, sample_weight, layout):
        self._classifier = classifier
        self._data = (X, y, sample_weight)
        self._trajectory = classifier.trajectory_
        self._device = classifier.device
        self._like = layout.vector_of(classifier.module_)[:0]
        groups = classifier.optimizer_.param_groups
        self.optimizer = type(classifier.optimizer_)
        self.group_settings = [{k: v for k, v in g.items() if k != "params"} for g in groups]
        self._group_of = _group_of_each_number(groups, layout, classifier.module_)

    @property
    def n_steps(self):
        """Number of training steps."""
        return self._trajectory.n_steps

    @property
    def visited(self):
        """Positions of the rows that sat in a batch, ascending."""
        return np.unique(np.concatenate([step.indices for step in self._trajectory.schedule]))

    @property
    def decays(self):
        """Whether the optimizer has weight decay."""
        return any(group.get("weight_decay") for group in self.group_settings)

    def ends_at(self, params):
        """Whether `params` are those at the end of the recorded training."""
        states = self._trajectory.states
        return len(states) == 0 or torch.equal(states[-1].params.to(params), params)

    @property
    def rates(self):
        """Learning rates, shape (n_steps, n_groups)."""
        return np.array([step.rates for step in self._trajectory.schedule], dtype=np.float64)

    def spread(self, per_group):
        """One number per parameter group -> a float, or (n_params,) for several groups."""
        if len(per_group) == 1:
            return float(per_group[0])
        return torch.as_tensor(per_group).to(self._like)[self._group_of]

    def checkpoints(self, n_checkpoints, rates):
        """The middle state of each of `n_checkpoints` equal stretches of the steps.

        `rates` (n_steps, n_groups) are summed over each stretch. The stretches are those
        that were recorded, if so many were asked for when training was planned (early
        stopping leaves fewer, ``partial_fit`` more of them); else states are replayed.
        """
        stretches = self._trajectory.stretches
        if self._trajectory.keep != n_checkpoints:
            stretches = equal_stretches(0, self.n_steps, n_checkpoints)
        states = self._states([stretch.middle for stretch in stretches])
        for stretch, state in zip(stretches, states, strict=True):
            total = rates[stretch.first : stretch.last].sum(0)
            yield self._point(state, self.spread(total))

    def every_step(self, rates):
        """Every state with its own batch and rate, by replay."""
        for t, state in enumerate(self._states(range(self.n_steps))):
            yield self._point(state, self.spread(rates[t]))

    def _point(self, state, rate):
        step = self._trajectory.schedule[state.step]
        rows = torch.as_tensor(step.indices, device=self._device)
        params = state.params.to(self._device)
        buffers = {name: b.to(self._device) for name, b in state.buffers.items()}
        return PathPoint(params, buffers, rows, rate, step.rho)

    def _states(self, steps):
        recorded = {state.step: state for state in self._trajectory.states}
        if not recorded:
            raise ValueError(
                "this method needs the training's states, but the classifier was fitted with "
                "trajectory=None. Fit it with trajectory=10 (or more), or take a method of the "
                'final model such as "hif".'
            )
        if all(step in recorded for step in steps):
            return (recorded[step] for step in steps)
        return self._replayed(steps)

    def _replayed(self, steps):
        X, y, sample_weight = self._data
        wanted = set(steps)
        states = self._classifier.replay(
            X, y, start=min(wanted), stop=max(wanted), sample_weight=sample_weight
        )
        return (state for state in states if state.step in wanted)


def _group_of_each_number(groups, layout, module):
    """Index of the parameter group that each entry of the flat vector belongs to."""
    owner = {id(p): g for g, group in enumerate(groups) for p in group["params"]}
    of_parameter = [owner[id(p)] for p in layout.parameters_of(module)]
    pairs = zip(of_parameter, layout.shapes, strict=True)
    return torch.cat([torch.full((shape.numel(),), group) for group, shape in pairs])
