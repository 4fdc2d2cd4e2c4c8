"""One HTML file out of the page's parts: no network, and data that cannot become code."""

import base64
import hashlib
import html
import json
import string
from importlib.resources import files

_ASSETS = files("sam_attribution.review") / "assets"
_SCRIPTS = (
    *("words", "data", "labels", "decisions", "csv", "merge", "view", "sheets", "images"),
    *("signals", "cells", "row", "list", "selection", "actions", "dialogs", "notes", "detail"),
    *("filters", "search", "keys", "controls", "main"),
)


def page(title, data, content):
    """The HTML. `data` goes in as JSON, packed images as text, both in inert elements."""
    style, script = _read("page.css"), _script()
    return string.Template(_read("page.html")).substitute(
        policy=(
            f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        title=html.escape(title),
        style=style,
        script=script,
        data=inert(data),
        images=_texts("sheet", content.sheets) + _texts("large", content.large),
    )


def _texts(name, parts):
    return "".join(
        f'<script type="text/plain" id="{name}-{k}">{part}</script>\n'
        for k, part in enumerate(parts)
    )


def inert(data):
    """JSON in ASCII without ``<``, so that nothing in it can end the element around it."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _script():
    bodies = "\n".join(_read(f"{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{bodies}}})();\n'


def _read(name):
    return (_ASSETS / name).read_text(encoding="utf-8")


def _digest(text):
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
