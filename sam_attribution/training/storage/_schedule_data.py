"""Schedule as arrays, and back."""

import numpy as np

from sam_attribution.training._trajectory import Step


def schedule_as_data(steps):
    """Rows, rates and perturbation norms of some steps as arrays; rare entries by step."""
    known = [step.indices for step in steps if step.indices is not None]
    return {
        "indices": np.concatenate([np.asarray(i) for i in known]) if known else None,
        "sizes": np.array([-1 if s.indices is None else len(s.indices) for s in steps]),
        "rates": np.array([s.rates for s in steps], dtype=np.float64),
        "perturbation_norms": np.array([s.perturbation_norm for s in steps], dtype=np.float64),
        "rho": np.array([s.rho for s in steps], dtype=np.float64),
        "skipped": np.array([s.skipped for s in steps], dtype=bool),
        "loss_scales": np.array([s.loss_scale for s in steps], dtype=np.float64),
        "gradient_factors": np.array([s.gradient_factor for s in steps], dtype=np.float64),
        "settings": _changes([s.settings for s in steps]),
        "changed_by": _where_any([s.changed_by for s in steps]),
        "without_gradient": _where_any([s.without_gradient for s in steps]),
    }


def schedule_of(data):
    """Steps that were given to :func:`schedule_as_data`."""
    # a run whose batches do not know their rows is broken, and not read
    edges = np.cumsum(data["sizes"])[:-1].astype(int)
    batches = [] if data["indices"] is None else np.split(data["indices"], edges)
    names = ("rates", "perturbation_norms", "rho", "skipped", "loss_scales", "gradient_factors")
    numbers = zip(*(data[name].tolist() for name in names), strict=True)
    return [
        Step(
            rows,
            tuple(rates),
            *others,
            settings,
            changed_by=data["changed_by"].get(number, ()),
            without_gradient=data["without_gradient"].get(number, ()),
        )
        for number, (rows, (rates, *others), settings) in enumerate(
            zip(batches, numbers, _settings(data), strict=True)
        )
    ]


def _where_any(names):
    """Tuples of names by the number of their step; empty ones are left out."""
    return {number: each for number, each in enumerate(names) if each}


def _changes(settings):
    """Pairs of step number and settings, for the steps whose settings changed."""
    return [
        (number, each)
        for number, each in enumerate(settings)
        if number == 0 or each is not settings[number - 1]
    ]


def _settings(data):
    """The settings of every step."""
    starts = [number for number, _ in data["settings"]]
    lengths = np.diff([*starts, len(data["sizes"])])
    return [each for (_, each), n in zip(data["settings"], lengths, strict=True) for _ in range(n)]
