"""What a review page holds, read without a browser."""

import base64
import json
import zlib
from html.parser import HTMLParser

import numpy as np


class _Scripts(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.scripts, self.tags, self._open = [], [], None

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._open = [dict(attrs), ""]
            self.scripts.append(self._open)

    def handle_endtag(self, tag):
        if tag == "script":
            self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self._open[1] += data


def tags_of(path):
    reader = _Scripts()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.tags


def scripts_of(path):
    """Attributes and text of every script element."""
    reader = _Scripts()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.scripts


def data_of(path):
    (text,) = [text for attrs, text in scripts_of(path) if attrs.get("id") == "data"]
    return json.loads(text)


def unpacked(packed, dtype):
    return np.frombuffer(base64.b64decode(packed), dtype=dtype)


def images_of(path):
    """Pixels of all images, (n, height, width, channels), value by value as a browser does."""
    content = data_of(path)["content"]
    shape = content["channels"], content["height"], content["width"]
    sheets = [text for attrs, text in scripts_of(path) if attrs.get("id", "").startswith("sheet-")]
    images = []
    for sheet in sheets:
        planes = np.frombuffer(zlib.decompress(base64.b64decode(sheet)), np.uint8).reshape(
            -1, *shape
        )
        images += [
            _image(np.array([_plane(plane.tolist()) for plane in image])) for image in planes
        ]
    return np.array(images)


def _plane(residuals):
    values = [[0] * len(row) for row in residuals]
    for y, row in enumerate(residuals):
        for x, residual in enumerate(row):
            values[y][x] = (residual + _guess(values, y, x)) % 256
    return values


def _guess(values, y, x):
    if y == 0:
        return values[0][x - 1] if x else 0
    if x == 0:
        return values[y - 1][0]
    left, above, corner = values[y][x - 1], values[y - 1][x], values[y - 1][x - 1]
    return sorted((left, above, left + above - corner))[1]


def _image(planes):
    if len(planes) > 1:
        planes[[0, 2]] = (planes[[0, 2]] + planes[1]) % 256
    return planes.transpose(1, 2, 0)
