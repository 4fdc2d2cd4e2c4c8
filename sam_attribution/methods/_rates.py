"""How much a gradient of step t still weighs in the final parameters."""

import numpy as np
import torch


def effective_rates(path):
    """Rate with which each step's gradient reaches the end of training, curvature left out.

    Parameters
    ----------
    path : TrainingPath
        Trained with ``torch.optim.SGD``.

    Returns
    -------
    ndarray of shape (n_steps, n_groups)
        The learning rates themselves without momentum and weight decay; more with momentum,
        for a step's gradient goes on acting.

    Raises
    ------
    ValueError
        For another optimizer.
    """
    if path.optimizer is not torch.optim.SGD:
        raise ValueError(
            f'rates="effective" is known for torch.optim.SGD, not for {path.optimizer.__name__}. '
            'Use rates="plain".'
        )
    columns = [
        _sgd_rates(column, settings)
        for column, settings in zip(path.rates.T, path.group_settings, strict=True)
    ]
    return np.stack(columns, axis=1)


def _sgd_rates(rates, settings):
    """Backward recursion over one parameter group: sensitivity to parameters and momentum."""
    momentum, dampening = settings["momentum"], settings["dampening"]
    decay, nesterov = settings["weight_decay"], settings["nesterov"]
    to_params, to_buffer = 1.0, 0.0
    effective = np.empty_like(rates)
    for t in reversed(range(len(rates))):
        through = momentum if nesterov else 1.0
        buffer = to_buffer - through * rates[t] * to_params
        # torch's first step copies the gradient into the buffer, undampened
        kept = 1.0 if t == 0 else 1.0 - dampening
        gradient = kept * buffer - (rates[t] * to_params if nesterov else 0.0)
        effective[t] = -gradient
        to_params += decay * gradient
        to_buffer = momentum * buffer
    return effective
