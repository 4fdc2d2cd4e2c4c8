"""SAM training on plain torch with a weight for every row: nothing of the package but the schedule.

What unrolled attribution and leave-one-out are held against.
"""

import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn


@dataclass
class Run:
    """A recorded training and its data, to be gone through again with other row weights.

    `ascent` is ``(w, g) -> eps``; `loss` gives a value for each row of a batch and `asked` one for
    each query row; `share` is what a row counts in a batch's denominator, its class weight where
    `loss` has one; `clip` is the largest norm.
    `scheduler` makes what moves the optimizer's settings after every step; rates are as recorded.
    """

    module: nn.Module
    X: torch.Tensor
    y: torch.Tensor
    recorded: object
    ascent: object
    optimizer: type
    settings: dict
    sample_weight: torch.Tensor | None = None
    loss: object = partial(nn.functional.cross_entropy, reduction="none")
    clip: float | None = None
    asked: object = partial(nn.functional.cross_entropy, reduction="none")
    share: object = torch.ones_like
    scheduler: object = None

    def trained(self, row_weights, watch=None):
        """The module after training; ``watch(optimizer, ascent_gradient)`` sees each step."""
        module = copy.deepcopy(self.module).train()
        nn.utils.vector_to_parameters(self.recorded.states[0].params, module.parameters())
        module.load_state_dict(self.recorded.states[0].buffers, strict=False)
        params = list(module.parameters())
        optimizer = self.optimizer(params, lr=0.0, **self.settings)
        scheduler = None if self.scheduler is None else self.scheduler(optimizer)
        for number, step in enumerate(self.recorded.schedule):
            optimizer.param_groups[0]["lr"] = step.rates[0]
            rows = torch.as_tensor(step.indices)

            def batch_loss(rows=rows, number=number):
                state = np.random.SeedSequence([self.recorded.seed, number]).generate_state(1)
                # torch.manual_seed would write down the stack each time, for a CUDA that may come
                torch.default_generator.manual_seed(int(state[0]))
                losses = self.loss(module(self.X[rows]), self.y[rows])
                a = torch.ones_like(losses)
                v = self.share(self.y[rows]).to(a)
                if self.sample_weight is not None:
                    a = self.sample_weight[rows]
                return (row_weights[rows] * a * losses).sum() / (a * v).sum()

            self._step(module, params, optimizer, batch_loss, watch)
            if scheduler is not None:
                scheduler.step()
        return module.eval()

    def _step(self, module, params, optimizer, batch_loss, watch):
        gradients = torch.autograd.grad(batch_loss(), params, materialize_grads=True)
        g = nn.utils.parameters_to_vector(gradients)
        w = nn.utils.parameters_to_vector(params).detach().clone()
        statistics = copy.deepcopy(dict(module.named_buffers()))
        nn.utils.vector_to_parameters(w + self.ascent(w, g), params)
        optimizer.zero_grad()
        batch_loss().backward()
        nn.utils.vector_to_parameters(w, params)
        module.load_state_dict(statistics, strict=False)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(params, self.clip)
        optimizer.step()
        if watch is not None:
            watch(optimizer, g)

    def value(self, row_weights, X, y, watch=None):
        """Mean of what is asked of query rows after training."""
        with torch.random.fork_rng():
            module = self.trained(row_weights, watch)
        with torch.no_grad():
            return float(self.asked(module(X), y).mean())

    def derivative(self, k, X, y, h=1e-4, watch=None):
        """Central difference of the query loss in the weight of row `k`, more weight first."""
        ends = []
        for sign in (1, -1):
            s = torch.ones(len(self.X), dtype=torch.float64)
            s[k] += sign * h
            ends.append(self.value(s, X, y, watch))
        return (ends[0] - ends[1]) / (2 * h)
