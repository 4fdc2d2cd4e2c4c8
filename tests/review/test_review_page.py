import base64
import hashlib
import io
import re
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_matrix

from sam_attribution.review import review_page
from sam_attribution.review._codec import residuals
from sam_attribution.review._table_content import shares_as_extreme
from tests.review.page_reader import data_of, images_of, scripts_of, tags_of, unpacked

NASTY = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>"
BASE = {"given": [0, 1, 1], "suggested": [1, 1, 0], "scores": [0.2, np.nan, -3.0]}
TABLE = pd.DataFrame({"length": [1.5, 2.0, 3.25], "kind": ["a", "b", "c"]})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "review.html"


def page(path, X=TABLE, **changes):
    return data_of(review_page(path, X, **(BASE | changes)))


def test_the_file_and_its_path(path):
    assert review_page(str(path), TABLE, **BASE) == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_lowest_score_comes_first_and_what_was_not_judged_last(path):
    data = page(path)
    assert unpacked(data["rows"], "<i4").tolist() == [2, 0, 1]
    np.testing.assert_array_equal(
        unpacked(data["scores"], "<f4"), np.array([-3, 0.2, np.nan], "f4")
    )
    assert unpacked(data["given"], "<i4").tolist() == [1, 0, 1]
    assert unpacked(data["suggested"], "<i4").tolist() == [0, 1, 1]


def test_infinite_scores_and_components_are_ranked(path):
    data = page(
        path, scores=[np.inf, 1e300, -np.inf], score_components={"loss": [-np.inf, 0, np.inf]}
    )
    assert unpacked(data["rows"], "<i4").tolist() == [2, 1, 0]
    assert unpacked(data["parts"][0]["ranks"], "<i4").tolist() == [3, 2, 1]


def test_equal_scores_keep_the_order_of_the_rows(path):
    scores = np.arange(400) % 2
    data = page(path, scores, given=scores, suggested=scores, scores=scores)
    assert unpacked(data["rows"], "<i4").tolist() == [*range(0, 400, 2), *range(1, 400, 2)]


def test_n_rows_takes_the_most_suspicious(path):
    data = page(path, n_rows=1, descriptions=["x", "y", "z"])
    assert unpacked(data["rows"], "<i4").tolist() == [2]
    assert (data["n_samples"], data["descriptions"]) == (3, ["z"])
    assert unpacked(page(path, n_rows=9)["rows"], "<i4").size == 3


def test_components_are_ranked_from_the_lowest_ties_alike_nan_not_at_all(path):
    components = {"mean loss": [0.5, -1.0, 0.5], "trusted": [np.nan, 2.0, 1.0]}
    found = page(path, score_components=components)["parts"]
    assert [part["name"] for part in found] == ["mean loss", "trusted"]
    assert unpacked(found[0]["ranks"], "<i4").tolist() == [2, 2, 1]  # of rows 2, 0, 1
    assert unpacked(found[1]["ranks"], "<i4").tolist() == [1, 0, 2]


def test_the_labels_that_fit_best_and_the_given_one(path):
    label_scores = [[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [0, np.nan, 0, 0, 0]]
    fits = page(
        path, given=[4, 3, 0], suggested=[0, 4, 0], label_scores=label_scores, classes=range(5)
    )["fits"]
    codes = unpacked(fits["codes"], "<i4").reshape(3, 4)
    values = unpacked(fits["values"], "<f4").reshape(3, 4)
    assert codes[1:].tolist() == [[0, 1, 2, 4], [4, 3, 2, -1]]  # of rows 0 and 1
    assert values[1].tolist() == [5, 4, 3, 1]
    assert unpacked(fits["lowest"], "<f4").tolist() == [0, 1, 1]
    assert not fits["are_probabilities"]


def test_probabilities_of_wrong_labels_come_in_the_order_of_the_rows(path):
    data = page(path, probability_wrong=[0.25, np.nan, 1.0])
    np.testing.assert_array_equal(unpacked(data["wrong"], "<f4"), [1.0, 0.25, np.nan])
    assert page(path)["wrong"] is None
    with pytest.raises(ValueError, match=r"probability_wrong must lie between 0 and 1, got 1\.5"):
        page(path, probability_wrong=[0.2, 1.5, 0.3])


@pytest.mark.parametrize(
    ("row", "are"), [([0.3, 0.7], True), ([0.3, 0.6], False), ([-1, 2], False)]
)
def test_rows_that_sum_to_one_are_probabilities(path, row, are):
    label_scores = [row, [np.nan, np.nan], [0.5, 0.5]]
    fits = page(path, label_scores=label_scores)["fits"]
    assert fits["are_probabilities"] is are
    assert unpacked(fits["codes"], "<i4").reshape(3, 4)[2].tolist() == [-1] * 4


def test_logarithms_of_probabilities_are_shown_without(path):
    label_scores = np.log([[0.25, 0.75], [1e-300, 1.0], [0.5, 0.5]])
    fits = page(path, label_scores=label_scores)["fits"]
    assert fits["are_probabilities"]
    values = unpacked(fits["values"], "<f4").reshape(3, 4)[1]  # of row 0
    np.testing.assert_allclose(values[:2], [0.75, 0.25], rtol=1e-6)


def test_labels_have_their_names_and_the_csv_their_spelling(path):
    labels = page(path, classes=[0, 1, 2], class_names=["cat", NASTY, ""])["labels"]
    assert labels == {"tokens": ["0", "1", "2"], "texts": ["cat", NASTY, ""]}
    labels = page(path, class_names={1: "dog"})["labels"]
    assert labels == {"tokens": ["0", "1"], "texts": ["0", "dog"]}


def test_labels_that_look_alike_are_told_apart(path):
    labels = page(path, given=["1", " ", ""], suggested=np.array([1, 1, "x"], object))["labels"]
    assert labels["tokens"] == ['" "', '""', '"1"', '"x"', "1"]
    assert labels["texts"] == ["' '", "''", '1 ("1")', "x", "1 (1)"]


def test_a_table_shows_its_columns(path):
    content = page(path)["content"]
    assert content["columns"] == ["length", "kind"]
    assert content["cells"] == [["3.25", "1.5", "2"], ["c", "a", "b"]]


@pytest.fixture
def wide():
    """One hundred rows of 30 columns; row 5 is unusual in columns 29 and 3."""
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 30)))
    table[3] = np.where(np.arange(100) == 5, "blue", "red")
    table.loc[5, 29] = 99.0
    return table


def wide_page(path, table, **changes):
    labels = np.zeros(len(table), int)
    scores = np.arange(len(table), 0, -1)
    return page(path, table, given=labels, suggested=labels, scores=scores, **changes)


def test_a_row_of_a_wide_table_shows_its_unusual_values_first(path, wide):
    data = wide_page(path, wide)
    assert data["note"].startswith("Each row shows the 24 of 30 columns in which it is most unus")
    content, item = data["content"], unpacked(data["rows"], "<i4").tolist().index(5)
    which = unpacked(content["which"], "<i4").reshape(100, 24)
    assert which[item, :2].tolist() == [3, 29]  # one row in a hundred; twice that
    assert [cells[item] for cells in content["cells"]][:2] == ["blue", "99"]
    unusual = unpacked(content["unusual"], "u1").reshape(100, 24)
    assert unusual[item, :2].tolist() == [1, 1]
    assert unusual.mean() < 0.05
    values = wide.to_numpy()[99 - item]
    assert values[which[item, 1]] == 99.0


def test_the_columns_that_were_chosen_are_shown_in_their_order(path, wide):
    content = wide_page(path, wide, columns=[29, 3])["content"]
    assert content["columns"] == ["29", "3"]
    assert content["which"] is None
    assert {"blue", "red"} == set(content["cells"][1])
    sparse = csr_matrix(np.arange(90.0).reshape(3, 30))
    assert page(path, sparse, columns=[1])["content"]["cells"] == [["61", "1", "31"]]
    with pytest.raises(ValueError, match=r"columns must name columns of X, got 'a'\. X has 0, 1"):
        wide_page(path, wide, columns=["a"])
    with pytest.raises(ValueError, match=r"columns must be left out, got .*: X holds texts"):
        page(path, ["a", "b", "c"], columns=["a"])


def test_how_rare_a_value_is():
    frame = pd.DataFrame({"n": [1.0, 2.0, 2.0, 50.0, np.nan], "s": ["a", "a", "a", "a", "b"]})
    found = shares_as_extreme(frame, np.arange(5))
    np.testing.assert_allclose(found[:, 0], [0.5, 1, 1, 0.5, 0.2])
    np.testing.assert_allclose(found[:, 1], [0.8, 0.8, 0.8, 0.8, 0.2])


def test_texts_and_the_index_of_a_series(path):
    X = pd.Series(["one", NASTY, "three"], index=["p", "q", "r"])
    data = page(path, X)
    assert data["content"] == {"kind": "text", "texts": ["three", "one", NASTY]}
    assert data["index"] == ["r", "p", "q"]
    assert page(path)["index"] is None


def test_a_long_text_is_cut_and_says_so(path):
    data = page(path, ["a", "b", "c" * 2001])
    assert data["content"]["texts"][0] == "c" * 2000 + " …"
    assert data["note"] == "Texts are cut after 2000 characters."


@pytest.mark.parametrize("n_channels", [1, 3, 4])
@pytest.mark.parametrize("layout", ["last", "first", "flat"])
def test_the_pixels_are_the_ones_that_came(path, n_channels, layout):
    images = np.random.default_rng(0).integers(256, size=(3, 5, 7, n_channels), dtype=np.uint8)
    X, shape = {
        "last": (images, None),
        "first": (images.transpose(0, 3, 1, 2), None),
        "flat": (images.reshape(3, -1), images.shape[1:]),
    }[layout]
    assert page(path, X, image_shape=shape)["note"] == "Pixels as they are."
    np.testing.assert_array_equal(images_of(path), images[[2, 0, 1]])


def test_images_go_over_several_sheets(path):
    images = np.random.default_rng(0).integers(256, size=(60, 96, 96), dtype=np.uint8)
    labels = [0] * 60
    page(path, images, given=labels, suggested=labels, scores=np.arange(60.0))
    sheets = [attrs["id"] for attrs, _ in scripts_of(path) if attrs.get("id", "")[:5] == "sheet"]
    assert sheets == ["sheet-0", "sheet-1", "sheet-2"]
    np.testing.assert_array_equal(images_of(path)[..., 0], images)


@pytest.mark.parametrize(
    ("values", "drawn", "note"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], "0 is drawn black, 1 white."),
        ([0.25, 0.5, 0.75], [64, 128, 191], "0 is drawn black, 1 white."),
        ([-2.0, 0.0, 2.0], [0, 128, 255], "-2 is drawn black, 2 white."),
        ([0, 8, 16], [0, 128, 255], "0 is drawn black, 16 white."),
        ([np.nan, 0.0, 4.0], [0, 0, 255], "0 is drawn black, 4 white. Not finite ones are black."),
        ([False, True, True], [0, 255, 255], "0 is drawn black, 1 white."),
        ([7.0, 7.0, 7.0], [0, 0, 0], "7 is drawn black, 7 white."),
    ],
)
def test_other_values_become_pixels_and_the_page_says_how(path, values, drawn, note):
    data = page(path, np.reshape(values, (3, 1, 1)), scores=[0, 1, 2])
    assert data["note"] == f"Pixels: {note}"
    assert images_of(path).ravel().tolist() == drawn


def test_a_large_image_is_drawn_smaller(path):
    images = np.zeros((3, 100, 193), np.uint8)
    images[2, :3, :3] = 90
    images[2, :, 192] = 60
    data = page(path, images)
    assert (data["content"]["height"], data["content"]["width"]) == (34, 65)
    assert data["note"].endswith("a click shows one in up to 1024 x 1024.")
    assert images_of(path)[0, :2, :2, 0].tolist() == [[90, 0], [0, 0]]
    assert (images_of(path)[0, :, -1] == 60).all()


class Pictures(torch.utils.data.Dataset):
    """Images of PIL, as ImageFolder gives them without a transform."""

    def __init__(self, *pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        return self.pictures[i], 0


def test_pictures_from_files_may_have_any_size_and_mode(path):
    photo = Image.new("RGB", (192, 96), (10, 20, 30))
    with_palette = Image.new("RGB", (10, 20), (204, 0, 102)).convert("P")
    grey = Image.new("L", (96, 3), 77)
    data = page(path, Pictures(photo, with_palette, grey), scores=[0, 1, 2])
    assert data["note"].startswith("Images have at most 96 x 96 pixels here; a click shows")
    expected = np.full((3, 48, 96, 3), 255)
    expected[0] = 10, 20, 30
    expected[1, 14:34, 43:53] = 204, 0, 102
    expected[2, 22:25] = 77
    np.testing.assert_array_equal(images_of(path), expected)
    assert photo.size == (192, 96)
    assert unpacked(data["content"]["sizes"], "<i4").tolist() == [192, 96, 10, 20, 96, 3]
    with pytest.raises(ValueError, match=r"8 bits per channel.*got mode 'I;16'"):
        page(path, Pictures(photo, grey, Image.new("I;16", (2, 2))))


def large_of(path):
    return [text for attrs, text in scripts_of(path) if attrs.get("id", "").startswith("large-")]


def test_a_large_array_is_kept_pixel_for_pixel_to_enlarge(path):
    images = np.random.default_rng(0).integers(256, size=(3, 100, 30, 3), dtype=np.uint8)
    content = page(path, images)["content"]
    assert content["large_shape"] == {"height": 100, "width": 30}
    assert unpacked(content["sizes"], "<i4").tolist() == [30, 100]
    planes = np.frombuffer(zlib.decompress(base64.b64decode(large_of(path)[0])), np.uint8)
    np.testing.assert_array_equal(planes.reshape(1, 3, 100, 30), residuals(images[2:]))


def test_files_lists_and_paths_are_read_as_pictures(path, tmp_path):
    pictures = [Image.fromarray(np.full((200, 300, 3), value, np.uint8)) for value in (0, 90, 200)]
    files = [tmp_path / f"{k}.png" for k in range(3)]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    found = {}
    rows = {"pictures": pictures, "paths": files, "names": [*map(str, files)]}
    for kind, X in (*rows.items(), ("series", pd.Series(rows["names"]))):
        data = page(path, X)
        assert data["content"]["kind"] == "image"
        assert images_of(path)[:, 0, 0, 0].tolist() == [200, 0, 90]
        found[kind] = Image.open(io.BytesIO(base64.b64decode(large_of(path)[0])))
        assert found[kind].size == (300, 200)
    assert page(path, pictures)["page"] == page(path, [p.copy() for p in pictures])["page"]
    data = page(path, ["one.png", "two.png", "three.png"])
    assert data["content"]["kind"] == "text"
    with pytest.raises(ValueError, match=r"image files that exist, got 'two.png', which does not"):
        page(path, [str(files[0]), "two.png", str(files[1])])
    with pytest.raises(ValueError, match=r"paths of images, got .*page.html.*cannot be read"):
        page(path, [*files[:2], tmp_path / "page.html"])


def test_large_images_end_where_the_page_would_be_too_big(path, monkeypatch):
    monkeypatch.setattr("sam_attribution.review._images.MOST_ENLARGED", 1)
    monkeypatch.setattr("sam_attribution.review._pictures.MOST_ENLARGED", 1)
    images = np.zeros((3, 100, 30, 3), np.uint8)
    for X in (images, [Image.fromarray(image) for image in images]):
        assert page(path, X)["note"].endswith(" for the first 1 rows.")
        assert len(large_of(path)) == 1


EARLIER = (
    "row,given,suggested,decision,label,reviewer,time,note\n"
    '1,1,1,relabel,"""cow""","""Ana""",2026-01-02T03:04:05Z,"""=1"""\n'
)


def test_earlier_decisions_come_along_and_their_rows_are_shown(path):
    data = page(path, decisions=io.StringIO(EARLIER), n_rows=1)
    assert unpacked(data["rows"], "<i4").tolist() == [2, 1]  # one that is open, one decided
    assert unpacked(data["places"], "<i4").tolist() == [1, 3]
    assert data["decided"]["entries"] == [
        [1, "relabel", '"cow"', "Ana", "2026-01-02T03:04:05Z", "=1"]
    ]
    assert data["labels"]["texts"] == ["0", "1", "cow"]
    assert page(path)["decided"] is None
    with pytest.raises(ValueError, match=r"line 2 .*the given label must be that of y"):
        page(path, given=[0, 0, 1], decisions=io.StringIO(EARLIER))
    with pytest.raises(ValueError, match="label must be one of 0, 1, got 'cow'"):
        page(path, decisions=io.StringIO(EARLIER.replace('"""cow"""', "cow")))


def test_the_fingerprint_stays_where_the_same_rows_are_judged_again(path):
    first = page(path)
    again = page(path, scores=[-1.0, 0.1, 2.0], suggested=[0, 0, 0], n_rows=2)
    assert again["rows"] != first["rows"]
    assert again["fingerprint"] == first["fingerprint"]


def test_data_never_end_the_element_they_are_in(path):
    X = pd.DataFrame({NASTY: [NASTY] * 3}, index=[NASTY, "a", "b"])
    labels = [NASTY, "ok", NASTY]
    extra = {"descriptions": [NASTY] * 3, "title": NASTY, "score_components": {NASTY: [1, 2, 3]}}
    data = page(path, X, given=labels, suggested=labels, class_names={NASTY: NASTY}, **extra)
    assert data["labels"]["texts"] == [NASTY, "ok"]
    assert data["content"]["columns"] == [NASTY]
    assert [attrs for attrs, _ in scripts_of(path) if "type" not in attrs] == [{}]
    assert "<img" not in path.read_text()


def test_the_policy_lets_run_what_the_page_brings_and_nothing_else(path):
    review_page(path, TABLE, **BASE)
    (policy,) = [attrs["content"] for tag, attrs in tags_of(path) if "http-equiv" in attrs]
    text = path.read_text(encoding="utf-8")
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)

    def digest(part):
        return base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; "
        f"style-src 'sha256-{digest(style)}'; base-uri 'none'; form-action 'none'"
    )


def test_nothing_in_the_page_points_elsewhere(path):
    review_page(path, TABLE, **BASE)
    attributes = {name for _, attrs in tags_of(path) for name in attrs}
    assert not attributes & {"src", "href", "srcset", "action", "data", "style", "onclick"}
    assert not re.search(r"https?://|url\(|@import", path.read_text(encoding="utf-8"))


def test_the_fingerprint_goes_by_rows_and_labels_not_by_paths_or_titles(path, tmp_path):
    first = page(path)["fingerprint"]
    assert page(tmp_path / "other.html", title="Other")["fingerprint"] == first
    assert page(path, given=[0, 1, 0])["fingerprint"] != first
    assert page(path, TABLE[["length"]])["fingerprint"] != first
    images = np.zeros((3, 2, 2), np.uint8)
    assert page(path, images)["fingerprint"] != page(path, images + np.uint8(1))["fingerprint"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"given": [0, 1]}, "given must hold one value for each of the 3 rows, got 2"),
        ({"suggested": [[0, 1, 1]]}, r"suggested should be a 1d array, got .* \(1, 3\)"),
        ({"scores": [1, 2, 3, 4]}, "scores must hold one value for each of the 3 rows"),
        ({"label_scores": [[1, np.inf]] * 3}, "label_scores contains infinity"),
        ({"scores": [[1, 2], [1, 2], [1, 2]]}, r"scores should be a 1d array, got .* \(3, 2\)"),
        ({"suspicious": [0, 2, 1]}, "suspicious must hold True and False only"),
        ({"score_components": {"loss": [1, 2]}}, r"score_components\['loss'\] must hold one value"),
        (
            {"label_scores": [[1, 2, 3]] * 3},
            "label_scores must have one column for each of the 2 classes",
        ),
        ({"classes": [0, 1, 1]}, "classes must hold each label once"),
        ({"class_names": ["a"]}, "class_names must hold one name for each of the 2 classes"),
        ({"descriptions": ["a"]}, "descriptions must hold one value for each of the 3 rows"),
        ({"n_rows": 0}, "n_rows must be None or a positive integer, got 0"),
        ({"n_rows": True}, "n_rows must be None or a positive integer, got True"),
        ({"image_shape": (2, 2)}, "image_shape must fit the 2 values of a row"),
        ({"X": np.zeros((3, 2, 5, 5))}, "X must hold images of shape"),
        ({"X": np.zeros((3, 1, 1, 1, 2))}, "X must hold images, rows of a table or texts"),
    ],
)
def test_what_does_not_fit_is_named(path, changes, message):
    arguments = {"X": TABLE} | BASE | changes
    with pytest.raises(ValueError, match=message):
        review_page(path, arguments.pop("X"), **arguments)
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"given": [None, "a", "b"]}, "labels must be strings, numbers or booleans"),
        ({"descriptions": "abc"}, "descriptions must hold one text per row"),
        ({"X": np.full((3, 2, 2), "a")}, "images must hold numbers"),
    ],
)
def test_what_is_of_another_type_is_named(path, changes, message):
    arguments = {"X": TABLE} | BASE | changes
    with pytest.raises(TypeError, match=message):
        review_page(path, arguments.pop("X"), **arguments)


def test_the_arrays_stay_as_they_were(path):
    images = np.random.default_rng(0).integers(256, size=(3, 4, 4, 3), dtype=np.uint8)
    before = images.copy()
    page(path, images)
    np.testing.assert_array_equal(images, before)
