"""Hash of Python objects that is the same in every process.

``joblib.hash`` alone identifies a class by its name (wrong after an edit in a notebook), refuses
local classes and lambdas, and gives two copies of one module different hashes. Objects are
therefore first described in plain data: parameters, tensors, the code of classes and functions.
"""

import sys
from functools import cached_property, lru_cache, partial, singledispatch
from pickle import PicklingError
from types import CodeType, FunctionType, MethodType

import joblib
import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.frozen import FrozenEstimator

from sam_attribution._row_source import RowSource

# classes of these are known by their name and the library's version
_LIBRARIES = ("builtins", "numpy", "scipy", "sklearn", "skorch", "torch")


def fingerprint(*values):
    """Hash of the content of `values`, equal for clones and copies.

    Global names in a function are not followed: an edit of a helper function that the code of a
    class calls does not change the hash.

    Raises
    ------
    TypeError, pickle.PicklingError, AttributeError
        If something in `values` can be neither described nor pickled.
    """
    return joblib.hash(_described(values, _Above()))


def fingerprint_or_none(value):
    """Hash of the content of `value`; None if it can be neither described nor pickled."""
    try:
        return fingerprint(value)
    except (TypeError, PicklingError, AttributeError):
        return None


class _Above:
    """Context of a description: the objects around it, and the classes described before.

    With `in_full` classes of this package are described like those of users, else by a hash.
    """

    def __init__(self, ids=(), classes=None, in_full=False):
        self.ids = ids
        self.classes = {} if classes is None else classes
        self.in_full = in_full

    def __add__(self, value):
        return _Above((*self.ids, id(value)), self.classes, self.in_full)


def _described(value, above):
    """Plain data for `value`; a reference to something `above` it becomes a position."""
    if id(value) in above.ids:
        return ("above", above.ids.index(id(value)))
    return _describe(value, above + value)


@singledispatch
def _describe(value, above):
    if getattr(value, "_is_adopted", False):  # its parameters do not name the checkpoints
        return "adopted", type(value).__qualname__, _described(vars(value), above)
    if hasattr(value, "get_params"):
        return _described(type(value), above), _described(value.get_params(deep=False), above)
    if issparse(value):
        return _of_sparse(value)
    if _is_data(value) or not getattr(value, "__dict__", None):
        return value  # as joblib hashes it
    return _described(type(value), above), _described(vars(value), above)


def _is_data(value):
    return hasattr(value, "__array__") or hasattr(value, "iloc")


def _of_sparse(value):
    """Numbers of a sparse table and their places; SciPy's notes on the object change when read."""
    rows = value.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    places = rows.indices.astype("int64"), rows.indptr.astype("int64")
    return "sparse", rows.shape, str(rows.dtype), rows.data, *places


@_describe.register
def _(value: np.ndarray, above):
    return str(value.dtype), value.shape, value.reshape(-1)  # joblib would count the strides


@_describe.register(list)
@_describe.register(tuple)
def _(value, above):
    return [_described(item, above) for item in value]


@_describe.register
def _(value: dict, above):
    if any(map(torch.is_tensor, value)):  # what an optimizer remembers; tensors cannot be sorted
        return [(_described(key, above), _described(item, above)) for key, item in value.items()]
    return {key: _described(item, above) for key, item in value.items()}


@_describe.register
def _(value: frozenset, above):
    return set(value)  # joblib sorts a set, and takes a frozen one as it comes


@_describe.register
def _(value: FrozenEstimator, above):
    # its parameters say nothing of the fit that it keeps
    return "frozen", type(value.estimator).__qualname__, _described(vars(value.estimator), above)


@_describe.register
def _(value: RowSource, above):
    return _described(value.content(), above)


@_describe.register
def _(value: torch.Tensor, above):
    content = value.detach().cpu().reshape(-1).view(torch.uint8).numpy()
    return str(value.dtype), tuple(value.shape), value.requires_grad, content


@_describe.register
def _(value: torch.nn.Module, above):
    # hooks are numbered in the order of their registration in the whole process
    state = {name: item for name, item in vars(value).items() if "_hooks" not in name}
    return _described(type(value), above), _described(state, above)


@_describe.register
def _(value: type, above):
    return [_class(cls, above) for cls in value.__mro__]


@_describe.register
def _(value: FunctionType, above):
    cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    defaults = (value.__defaults__, value.__kwdefaults__)
    return _described(value.__code__, above), _described(defaults, above), _described(cells, above)


@_describe.register
def _(value: MethodType, above):
    return _described(value.__func__, above), _described(value.__self__, above)


@_describe.register
def _(value: partial, above):
    return _described((value.func, value.args, value.keywords), above)


@_describe.register
def _(value: CodeType, above):
    return value.co_code, value.co_names, _described(value.co_consts, above)


def _is_filled(cell):
    try:
        return cell.cell_contents is cell.cell_contents
    except ValueError:  # a name that is bound later
        return False


def _class(cls, above):
    library = cls.__module__.partition(".")[0]
    if library in _LIBRARIES:
        return cls.__module__, cls.__qualname__, getattr(sys.modules[library], "__version__", "")
    if library == __package__ and not above.in_full:
        return _hash_of_own(cls, tuple(map(id, vars(cls).values())))
    if cls in above.classes:  # its methods name it: without this one class came a hundred times
        return ("before", above.classes[cls])
    above.classes[cls] = len(above.classes)
    # an estimator is set up by its parameters: other data in its class may be a mere counter
    member = _code if hasattr(cls, "get_params") else _member
    members = {name: member(item, above) for name, item in vars(cls).items() if _counts(name, item)}
    return cls.__module__, cls.__qualname__, members


@lru_cache(maxsize=1000)
def _hash_of_own(cls, members):
    """Hash of a class of this package, computed once: an estimator has dozens of them.

    `members` are the ids of what it holds, for classes that were patched.
    """
    return joblib.hash(_class(cls, _Above(in_full=True)))


def _counts(name, item):
    """True if a class member is part of what the class does, unlike its docs and module name."""
    return callable(item) or not (name.startswith("__") or name == "_abc_impl")


def _member(item, above):
    """A class member with all the data it holds."""
    return _described(_functions(item), above)


def _code(item, above):
    """Code of a class member, without data."""
    if isinstance(item, FunctionType):
        return _described((item.__code__, item.__defaults__, item.__kwdefaults__), above)
    functions = _functions(item)
    return None if functions is item else [_code(function, above) for function in functions]


def _functions(item):
    """Functions behind a property or a static or class method; anything else as it is."""
    if isinstance(item, property):
        return item.fget, item.fset
    if isinstance(item, staticmethod | classmethod):
        return (item.__func__,)
    return (item.func,) if isinstance(item, cached_property) else item
