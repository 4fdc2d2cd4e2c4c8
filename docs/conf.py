"""Sphinx settings: ``make docs`` builds the pages and runs the gallery."""

import inspect
import os
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

import sam_attribution

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = os.environ.get("SAM_ATTRIBUTION_REPOSITORY", "")  # address of the sources, if public

project = "sam_attribution"
author = "The sam_attribution developers"
copyright = author
version = release = sam_attribution.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.linkcode" if REPOSITORY else "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinxext.opengraph",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "code"
smartquotes = False  # a search finds the words of a message as they are printed

html_theme = "furo"
html_title = f"sam_attribution {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["pages.js"]
html_theme_options = {"navigation_with_keys": True}
if REPOSITORY:
    html_theme_options |= {
        "source_repository": REPOSITORY,
        "source_branch": "main",
        "source_directory": "docs/",
    }
html_show_copyright = False
html_show_sphinx = False

inventories = {  # of other projects; a build without a network has no links to them
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
    "torch": ("https://docs.pytorch.org/docs/stable", None),
    "skorch": ("https://skorch.readthedocs.io/en/stable", None),
    "pandas": ("https://pandas.pydata.org/docs", None),
}
intersphinx_mapping = inventories if os.environ.get("CI") else {}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
ogp_site_url = os.environ.get("SAM_ATTRIBUTION_DOCS", "https://example.invalid/")
ogp_social_cards = {"enable": False}
ogp_image = "_static/card.png"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types and shapes
numpydoc_show_class_members = False  # the class template lists them

examples = {  # folders and their scripts, in the order of the gallery
    "wrong_labels": ["clean_digits", "image_labels", "image_folder", "table_labels", "text_labels"],
    "own_models": ["sentence_model", "plain_loop"],
    "explain": ["trace_errors", "language_model"],
    "check_scores": ["removal_curve", "agreement", "further_training"],
}
scripts = [f"plot_{name}.py" for names in examples.values() for name in names]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": ExplicitOrder([f"../examples/{folder}" for folder in examples]),
    "within_subsection_order": ExplicitOrder([*scripts, "*"]),
    "filename_pattern": r"plot_",
    "copyfile_regex": "",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
    "abort_on_example_error": True,
}


def linkcode_resolve(domain, info):
    """Address of the source lines of a name."""
    if domain != "py" or not info["module"]:
        return None
    found = sys.modules[info["module"]]
    for part in info["fullname"].split("."):
        found = getattr(found, part, None)
    found = inspect.unwrap(getattr(found, "fget", found))
    try:
        path, (lines, first) = inspect.getsourcefile(found), inspect.getsourcelines(found)
        inside = Path(path).relative_to(ROOT)
    except (TypeError, OSError, ValueError):  # a constant, or written elsewhere
        return None
    return f"{REPOSITORY}/blob/main/{inside}#L{first}-L{first + len(lines) - 1}"


def setup(app):
    """Show the members of this package only, and no button to edit a page that was generated."""
    app.connect("autodoc-skip-member", _skip_foreign)
    app.connect("html-page-context", _hide_edit_button)


def _skip_foreign(_app, _what, _name, obj, skip, _options):
    home = getattr(getattr(obj, "fget", obj), "__module__", None) or "sam_attribution"
    return skip or not home.startswith("sam_attribution")


def _hide_edit_button(_app, pagename, _template, context, _doctree):
    if pagename.startswith(("auto_examples/", "reference/generated/")):
        context["page_source_suffix"] = None
