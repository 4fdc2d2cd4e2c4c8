"""Sphinx settings: ``make docs`` builds the pages and runs the gallery."""

import sam_attribution

project = "sam_attribution"
author = "The sam_attribution developers"
copyright = author
release = sam_attribution.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "code"

html_theme = "furo"
html_title = "sam_attribution"
html_theme_options = {"navigation_with_keys": True}
html_show_copyright = False
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types and shapes
numpydoc_show_class_members = False  # the class template lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "copyfile_regex": "",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
    "abort_on_example_error": True,
}


def setup(app):
    """Show the members that are written in this package, not what bases from elsewhere add."""
    app.connect("autodoc-skip-member", _skip_foreign)


def _skip_foreign(_app, _what, _name, obj, skip, _options):
    home = getattr(getattr(obj, "fget", obj), "__module__", None) or "sam_attribution"
    return skip or not home.startswith("sam_attribution")
