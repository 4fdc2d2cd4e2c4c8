"""Every public class: its default constructor works, and its docstring says what it takes."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator, clone

import sam_attribution
from tests.public_names import PUBLIC

ADAPTERS = ["imblearn"]


def public_modules():
    """The package and its public modules and folders, private files left out."""
    yield sam_attribution
    for info in pkgutil.iter_modules(sam_attribution.__path__):
        if not info.name.startswith("_") and is_importable(info.name):
            yield importlib.import_module(f"sam_attribution.{info.name}")


def is_importable(name):
    """An adapter needs the library after which it is named."""
    return name not in ADAPTERS or importlib.util.find_spec(name) is not None


def public_objects(kind):
    found = {}
    for module in public_modules():
        names = getattr(module, "__all__", None) or vars(module)
        for name in names:
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("sam_attribution")
            if ours and kind(value) and not name.startswith("_"):
                found[value.__qualname__] = value
    return [found[name] for name in sorted(found)]


CLASSES = public_objects(inspect.isclass)
ESTIMATORS = [
    cls for cls in CLASSES if issubclass(cls, BaseEstimator) and not inspect.isabstract(cls)
]
FUNCTIONS = public_objects(inspect.isfunction)


def parameters_of(cls):
    kinds = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    parameters = inspect.signature(cls).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind not in kinds}


def documented(cls):
    """Names on the left of ``name, name : type`` lines in the docstring."""
    lines = re.findall(r"^(\w+(?:, \w+)*) : ", inspect.getdoc(cls), flags=re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


def test_the_promised_names_are_these():
    """A name is added or dropped here on purpose, with a line in the changelog."""
    promised = {}
    for module in public_modules():
        name = module.__name__.removeprefix("sam_attribution").removeprefix(".")
        if names := getattr(module, "__all__", []):
            promised[name] = sorted(names)
            assert all(hasattr(module, each) for each in names)
    expected = {name: sorted(names) for name, names in PUBLIC.items() if is_importable(name)}
    assert promised == expected
    assert sum(map(len, PUBLIC.values())) <= 85


def test_the_reference_shows_the_promised_names_and_no_others():
    page = (Path(__file__).parents[1] / "docs" / "reference" / "api.rst").read_text(
        encoding="utf-8"
    )
    shown = re.findall(r"^   ~sam_attribution\.(\S+)$", page, flags=re.MULTILINE)
    promised = [f"{module}.{name}" for module, names in PUBLIC.items() for name in names]
    assert sorted(shown) == sorted(name.removeprefix(".") for name in promised)


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_the_default_constructor_works(cls):
    first = cls()
    assert repr(first)
    assert clone(first).get_params().keys() == first.get_params().keys()


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_all_but_the_first_argument_are_keyword_only(cls):
    parameters = list(inspect.signature(cls).parameters.values())
    allowed = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    assert {parameter.kind for parameter in parameters[1:]} <= allowed


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_an_estimator_documents_every_parameter(cls):
    assert parameters_of(cls) <= documented(cls)


@pytest.mark.slow
@pytest.mark.parametrize("value", [*CLASSES, *FUNCTIONS], ids=lambda value: value.__name__)
def test_everything_public_has_a_docstring(value):
    assert value.__doc__
