"""Schedule as arrays, and back."""

import numpy as np

from sam_attribution.training._trajectory import Step

_NUMBERS = ("rates", "perturbation_norm", "rho", "skipped", "loss_scale", "gradient_factor")
_RARE = {"changed_by": (), "without_gradient": (), "m_sharpness": None}


def schedule_as_data(steps):
    """Rows and numbers of some steps as arrays; settings where they change, rare names by step."""
    # a run whose batches do not know their rows is broken, and not read
    rows = [step.indices for step in steps if step.indices is not None]
    settings = [step.settings for step in steps]
    changes = [n for n in range(len(steps)) if n == 0 or settings[n] is not settings[n - 1]]
    data = {
        "indices": np.concatenate([np.empty(0, int), *rows]),
        "sizes": np.array([len(each) for each in rows], int),
        "settings": {number: settings[number] for number in changes},
    }
    for name in _NUMBERS:
        data[name] = np.array([getattr(step, name) for step in steps])
    for name in _RARE:
        values = enumerate(getattr(step, name) for step in steps)
        data[name] = {number: value for number, value in values if value}
    data["per_process"] = np.array([step.per_process for step in steps], int)
    return data


def schedule_of(data):
    """Steps that were given to :func:`schedule_as_data`."""
    steps, settings = [], ()
    per_process = data.get("per_process")  # older runs have none
    batches = np.split(data["indices"], np.cumsum(data["sizes"]))[:-1]
    for number, rows in enumerate(batches):
        settings = data["settings"].get(number, settings)
        rates, *numbers = (data[name][number].tolist() for name in _NUMBERS)
        # a run of an older version has no m_sharpness
        rare = {name: data.get(name, {}).get(number, usual) for name, usual in _RARE.items()}
        if per_process is not None:
            rare["per_process"] = tuple(per_process[number].tolist())
        steps.append(Step(rows, tuple(rates), *numbers, settings=settings, **rare))
    return steps
