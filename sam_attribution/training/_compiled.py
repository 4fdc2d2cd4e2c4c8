"""Support for ``torch.compile``, which wraps a module in another."""


def uncompiled(module):
    """The module that ``torch.compile`` wrapped, with the same parameters, or the one given."""
    return getattr(module, "_orig_mod", module)
