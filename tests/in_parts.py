"""SAM with m-sharpness on plain torch: each part of a batch climbs by its own gradient."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tests.retrained import Run


def parts_of(rows, m):
    """Parts of at most m rows that differ by one row at most, the larger ones anywhere."""
    n = -(-len(rows) // m)
    return [rows[len(rows) * j // n : len(rows) * (j + 1) // n] for j in range(n)]


def seed_of(*numbers):
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@dataclass
class RunInParts(Run):
    """A recorded training whose batches are split into parts of at most `m` rows."""

    m: int = 4

    def trained(self, row_weights, watch=None):
        module = copy.deepcopy(self.module).train()
        nn.utils.vector_to_parameters(self.recorded.states[0].params, module.parameters())
        module.load_state_dict(self.recorded.states[0].buffers, strict=False)
        params = list(module.parameters())
        optimizer = self.optimizer(params, lr=0.0, **self.settings)
        for number, step in enumerate(self.recorded.schedule):
            optimizer.param_groups[0]["lr"] = step.rates[0]
            seed = seed_of(self.recorded.seed, number)
            gradient = self.gradient(
                module, params, torch.as_tensor(step.indices), seed, row_weights
            )
            nn.utils.vector_to_parameters(gradient, [p.grad for p in params])
            optimizer.step()
        return module.eval()

    def gradient(self, module, params, rows, seed, row_weights):
        """Mean of the parts' SAM gradients, weighted by what they count in the batch."""
        a = torch.ones(len(self.X)).double() if self.sample_weight is None else self.sample_weight
        counts = a * self.share(self.y).to(a)
        total = 0.0
        for j, part in enumerate(parts_of(rows, self.m)):

            def loss(part=part, j=j):
                torch.default_generator.manual_seed(seed if j == 0 else seed_of(seed, j))
                losses = self.loss(module(self.X[part]), self.y[part])
                return (row_weights[part] * a[part] * losses).sum() / counts[part].sum()

            w = nn.utils.parameters_to_vector(params).detach().clone()
            g = nn.utils.parameters_to_vector(torch.autograd.grad(loss(), params))
            statistics = copy.deepcopy(dict(module.named_buffers()))
            nn.utils.vector_to_parameters(w + self.ascent(w, g), params)
            for p in params:
                p.grad = None
            loss().backward()
            climbed = nn.utils.parameters_to_vector([p.grad for p in params]).clone()
            nn.utils.vector_to_parameters(w, params)
            module.load_state_dict(statistics, strict=False)
            total = total + counts[part].sum() / counts[rows].sum() * climbed
        return total
