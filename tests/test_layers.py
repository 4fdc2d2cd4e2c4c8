"""Imports go one way: a file or folder imports only what stands above it in the list."""

import ast
from pathlib import Path

import pytest

import sam_attribution

LAYERS = [
    "_version",
    "exceptions",
    "_overflow",
    "_warnings",
    "_out_of_memory",
    "_folders",
    "_as_arrays",
    "_row_source",
    "_row_order",
    "_validation",
    "_accuracy",
    "_class_names",
    "_class_losses",
    "_image_shape",
    "_seeding",
    "_fingerprint",
    "_ranking",
    "_summary",
    "_tables",
    "_printing",
    "_turns",
    "_jobs",
    "_rows",
    "validation_data",
    "parameters",
    "perturbation",
    "linalg",
    "metrics",
    "review",
    "datasets",
    "dynamics",
    "training",
    "problem",
    "probes",
    "curvature",
    "methods",
    "retraining",
    "fitting",
    "editing",
    "diagnosis",
    "detection",
    "influence",
    "filtering",
    "imblearn",
    "comparison",
    "plotting",
]
PACKAGE = Path(sam_attribution.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TOP = PACKAGE / "__init__.py"


def layer_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source):
    """Dotted names behind ``import a.b`` and ``from a.b import c``, and the relative ones."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ["", *(node.module or "").split(".")] if node.level else node.module.split(".")
            from_the_top = base == ["sam_attribution"]
            yield from ([*base, alias.name] for alias in node.names) if from_the_top else (base,)


def faults(path, source):
    """What a file's imports do against the layers, as sentences."""
    here = layer_of(path)
    for module in imported_modules(source):
        if module[0] == "":
            yield "a relative import"
        if module[0] != "sam_attribution":
            continue
        layer, *inner = module[1:]
        if layer not in LAYERS:
            yield f"{'.'.join(module)} is not in the list of layers"
        elif layer != here and LAYERS.index(layer) > LAYERS.index(here):
            yield f"{here} imports {layer}, which stands below it"
        if layer != here and any(name.startswith("_") for name in inner):
            yield f"{'.'.join(module)} is private to {layer}"


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in FILES if p != TOP], ids=lambda p: p.stem)
def test_imports_only_what_stands_above(path):
    assert layer_of(path) in LAYERS, f"{layer_of(path)} is not in the list of layers"
    assert not list(faults(path, path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("from sam_attribution.methods import GIF", "stands below"),
        ("def f():\n    import sam_attribution.influence", "stands below"),
        ("from sam_attribution.perturbation._norms import x", "private"),
        ("from ._direct import Direct", "relative"),
        ("from . import _direct", "relative"),
        ("from sam_attribution import SAMInfluence", "not in the list"),
    ],
)
def test_a_wrong_import_is_found(source, fault):
    assert any(fault in found for found in faults(PACKAGE / "linalg" / "_cg.py", source))


@pytest.mark.parametrize(
    "source",
    [
        "from sam_attribution.perturbation import PNorm",
        "from sam_attribution.linalg._operator import LinearOperator",
        "from sam_attribution._validation import Interval",
        "from torch._C import x",
    ],
)
def test_a_right_import_passes(source):
    assert not list(faults(PACKAGE / "linalg" / "_cg.py", source))


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.name == "__init__.py"], ids=lambda p: p.parent.name
)
def test_an_init_holds_imports_and_all(path):
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    if statements and isinstance(statements[0], ast.Expr):
        statements = statements[1:]  # the docstring
    for statement in statements:
        is_all = isinstance(statement, ast.Assign) and statement.targets[0].id == "__all__"
        assert is_all or isinstance(statement, ast.ImportFrom), ast.unparse(statement)
