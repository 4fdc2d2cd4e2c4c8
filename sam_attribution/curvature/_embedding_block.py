"""The curvature of an embedding: a Kronecker product whose inputs are one-hot vectors."""

import torch

from sam_attribution.linalg import symmetric_eigen


class EmbeddingBlock:
    """Token frequencies, a diagonal factor, times the second moment of the back-signals.

    The token ``padding_idx`` has no gradient, and counts neither as an input nor as a
    back-signal.
    """

    is_exact = False

    def __init__(self, layer):
        self.layer = layer
        self._n_tokens, self._n_out = layer.module.weight.shape
        self.vector_size = self._n_out
        self._inputs = self._signals = 0.0
        self._counted = 0.0

    def add_moments(self, calls, signals, shares):
        """Add frequencies and second moments of a part of the rows, for one back-signal."""
        rows, tokens, back = self._looked_up(calls, signals)
        each = shares.double()[rows]
        counts = each.new_zeros(self._n_tokens)
        self._inputs = self._inputs + counts.index_add(0, tokens, each)
        self._counted += float(each.sum())
        self._signals = self._signals + back.T @ back

    def decompose(self):
        """Eigenbasis of the back-signals, and the eigenvalues of the product."""
        frequencies = self._inputs / (self._counted or 1.0)
        on_signals, self._basis = symmetric_eigen(self._signals, self.layer.curvature_name)
        del self._inputs, self._signals
        self.eigenvalues = (frequencies[:, None] * on_signals).clamp(min=0)

    def add_eigenvalues(self, calls, signals, _shares):
        """Add squared gradients in the eigenbasis, for one back-signal."""
        rows, tokens, back = self._looked_up(calls, signals)
        # a row's gradient for a token is a sum over the places where it stands
        place, of = torch.unique(rows * self._n_tokens + tokens, return_inverse=True)
        gradients = back.new_zeros(len(place), self._n_out).index_add(0, of, back @ self._basis)
        self.eigenvalues.index_add_(0, place % self._n_tokens, gradients.square())

    def rotated(self, columns):
        """Columns of the layer's numbers in the eigenbasis, (n_tokens, n_out, k)."""
        table = columns.reshape(self._n_tokens, self._n_out, -1)
        return torch.einsum("vok,op->vpk", table, self._basis.to(columns))

    def rotated_back(self, rotated):
        """Columns of the layer's numbers, from those in the eigenbasis."""
        table = torch.einsum("vpk,op->vok", rotated, self._basis.to(rotated))
        return table.reshape(-1, rotated.shape[-1])

    def _looked_up(self, calls, signals):
        """Row, token and back-signal of every position that is no padding, calls together."""
        tokens = torch.cat([call.given.reshape(len(call.given), -1) for call in calls], dim=1)
        back = torch.cat([each.reshape(len(each), -1, self._n_out) for each in signals], dim=1)
        rows = torch.arange(len(tokens), device=tokens.device)[:, None].expand_as(tokens)
        padding = self.layer.module.padding_idx
        real = torch.ones_like(tokens, dtype=torch.bool) if padding is None else tokens != padding
        return rows[real], tokens[real], back[real].double()
