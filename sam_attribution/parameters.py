"""Flat vector of all trainable parameters, with their names and slices."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch


def matching(
    names: Iterable[str], patterns: Iterable[str], aliases: Mapping[str, str] | None = None
) -> list[str]:
    """Names that shell-style patterns choose, in the order of `names`.

    A pattern that begins with ``!`` leaves out what it matches, wherever it stands among the
    patterns; where no pattern is without ``!`` all other names are chosen. `aliases` are second
    names, which patterns match as well.
    """
    patterns, aliases = list(patterns), aliases or {}
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]

    def match(name: str, some: list[str]) -> bool:
        both = (name, aliases.get(name, name))
        return any(fnmatchcase(each, pattern) for each in both for pattern in some)

    kept = (name for name in names if not wanted or match(name, wanted))
    return [name for name in kept if not match(name, unwanted)]


class ParameterLayout:
    """Order, shapes and slices of a module's trainable parameters in one flat vector.

    No other code knows which slice of a ``(n_params,)`` vector belongs to which parameter. Tied
    weights count once, frozen ones (``requires_grad=False``) not at all. ``named_parameters()``
    fix the order; `size` is the number of trainable scalars, ``n_params``. `aliases` name each
    parameter by the class of its layer, such as ``BatchNorm2d.weight``.
    """

    def __init__(self, module):
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.names = tuple(trainable)
        self.shapes = tuple(p.shape for p in trainable.values())
        kinds = {prefix: type(part).__name__ for prefix, part in module.named_modules()}
        split = {name: name.rpartition(".") for name in trainable}
        self.aliases = {name: f"{kinds[at]}.{leaf}" for name, (at, _, leaf) in split.items()}
        self.slices, self.size = {}, 0
        for name, p in trainable.items():
            self.slices[name] = slice(self.size, self.size + p.numel())
            self.size += p.numel()
        self._sizes = [shape.numel() for shape in self.shapes]

    def __repr__(self):
        return f"ParameterLayout({len(self.names)} tensors, {self.size} parameters)"

    def flatten(self, tensors):
        """Flat vector of a mapping, or of an iterable in layout order, shape (n_params,)."""
        values = [tensors[name] for name in self.names] if isinstance(tensors, dict) else tensors
        return torch.cat([value.reshape(-1) for value in values])

    def unflatten(self, flat):
        """Name-to-tensor views of a flat vector."""
        # one split: the backward of a slice fills a whole vector, for every parameter anew
        parts = flat.split(self._sizes)
        named = zip(self.names, parts, self.shapes, strict=True)
        return {name: part.view(shape) for name, part, shape in named}

    def layers(self):
        """Positions of each module's own parameters in the flat vector, by the module's name."""
        spans = {}
        for name, span in self.slices.items():
            owner = name.rpartition(".")[0]
            spans.setdefault(owner, []).append(torch.arange(span.start, span.stop))
        return {owner: torch.cat(parts) for owner, parts in spans.items()}

    def parameters_of(self, module):
        """Trainable parameters of the module in layout order."""
        named = dict(module.named_parameters())
        return [named[name] for name in self.names]

    def vector_of(self, module):
        """New flat vector with a copy of the module's trainable parameters."""
        return self.flatten([p.detach() for p in self.parameters_of(module)])
