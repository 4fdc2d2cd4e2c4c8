"""How an estimator prints: a network of several lines by its size."""

from sklearn.utils._pprint import _EstimatorPrettyPrinter
from torch import nn


class Printed:
    """Mixin of an estimator that has a network, perhaps inside another estimator.

    ``repr`` stays that of scikit-learn, which writes every layer.
    """

    def __str__(self):
        return _Printer(compact=True, n_max_elements_to_show=30).pformat(self)

    def _repr_mimebundle_(self, **kwargs):
        """Output of IPython; the text is that of ``print``."""
        return super()._repr_mimebundle_(**kwargs) | {"text/plain": str(self)}


class _Printer(_EstimatorPrettyPrinter):
    def format(self, value, *place):
        if isinstance(value, nn.Module) and "\n" in repr(value):
            n_params = sum(param.numel() for param in value.parameters())
            return f"{type(value).__name__}({n_params} parameters)", True, False
        return super().format(value, *place)
