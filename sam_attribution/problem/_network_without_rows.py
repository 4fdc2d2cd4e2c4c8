"""The network of a fitted estimator as a function of its weights, for any rows."""

from functools import cached_property

from sam_attribution.parameters import ParameterLayout
from sam_attribution.problem._batching import auto_batch_size
from sam_attribution.problem._functional_call import flat_call


class NetworkWithoutRows:
    """What a Problem knows of its module, without the rows that it was trained on.

    Parameters
    ----------
    module : torch.nn.Module
        A private copy in evaluation mode.
    row_loss : object
        As for :class:`Problem`.
    some : Tensor or RowSource
        Rows such as those that it will be asked about.
    """

    def __init__(self, module, row_loss, some):
        self.module, self.row_loss = module, row_loss
        self.layout = ParameterLayout(module)
        self.rows_per_pass = auto_batch_size(module, some)

    @cached_property
    def params(self):
        """The trained parameters, shape (n_params,)."""
        return self.layout.vector_of(self.module)

    @cached_property
    def buffers(self):
        """The trained buffers, by name."""
        return {name: b.detach().clone() for name, b in self.module.named_buffers()}

    def logits(self, params, buffers, X):
        """Logits of a batch at flat `params`, in evaluation mode; one vector for each row."""
        return flat_call(self.module, (self.layout.unflatten(params), buffers), X)
