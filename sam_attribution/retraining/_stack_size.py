"""How many models are trained at once: a fixed rule of model, batch and device."""

from sam_attribution.problem import activations_per_row

# Bytes of parameters and activations that pay off side by side. On a CPU they should fit its
# caches: a step of one small MLP is all overhead, which a stack shares; that of a CNN on images
# is all arithmetic, which batched convolutions do no faster than single ones.
_BYTES = {"cpu": 2**22, "cuda": 2**30}


def stack_size(batch):
    """Models to put into one stack, the same at every call (no timing involved).

    Parameters
    ----------
    batch : TrainingBatch
        One of those that the models are trained on.

    Returns
    -------
    int
        At least 1, which says that the models go one after another.
    """
    problem, params = batch.problem, batch.problem.params
    numbers = len(params) + len(batch.rows) * activations_per_row(problem.module, problem.X)
    budget = _BYTES.get(params.device.type, _BYTES["cuda"])
    return max(1, budget // (numbers * params.element_size()))
