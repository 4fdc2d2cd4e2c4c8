"""Parts of the page's script that need no browser, in Node.js."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import sam_attribution.review

ASSETS = Path(sam_attribution.review.__file__).parent / "assets"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


def in_node(before, *names, then):
    """JSON that `then` prints after the scripts of these names."""
    scripts = [(ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in names]
    program = "\n".join([before, *scripts, then])
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


PAGE = """
const parts = {
  scroller: {scrollTop: 0, clientHeight: 500},
  feed: {}, status: {}, search: {}, file: {},
};
const byId = (id) => parts[id];
const document = {};
const openHelp = () => {};
const nameOf = (item) => `row ${item}`;
const decided = [];
"""


SCROLLED = [  # scrolled to, height of the screen, current row, is it seen, row of the first key
    [0, 500, 0, True, 0],
    [70, 500, 0, True, 0],  # more than half of it
    [80, 500, 0, False, 1],
    [320, 500, 0, False, 2],
    [320, 500, 4, True, 4],
    [320, 500, 5, False, 2],  # below the screen
    [300, 100, 2, True, 2],  # taller than the screen
    [420, 100, 2, False, 3],
    [5000, 500, 0, False, 33],
]


def test_a_key_decides_only_a_row_that_can_be_seen():
    then = f"""
    items = Array.from({{length: 60}}, (_, k) => k);
    rowHeight = 150;
    act = (action, item) => decided.push(item);
    goTo = (position) => {{ current = position; }};
    document.querySelector = () => null;
    const press = (key) => onKey({{
      key, target: {{matches: () => false}}, preventDefault() {{}},
    }});
    const found = {json.dumps(SCROLLED)}.map(([scrollTop, clientHeight, start]) => {{
      Object.assign(scroller, {{scrollTop, clientHeight}});
      current = start;
      decided.length = 0;
      const seen = isOnScreen(current);
      press("x");
      const first = [...decided];
      press("x");
      return [seen, first, [...decided], current];
    }});
    console.log(JSON.stringify(found));
    """
    found = in_node(PAGE, "list", "controls", then=then)
    for (*_, is_seen, chosen), (seen, first, both, now) in zip(SCROLLED, found, strict=True):
        assert (seen, now) == (is_seen, chosen)
        assert first == ([chosen] if is_seen else [])
        assert both == [*first, chosen]


DECISIONS = """
const DATA = {ids: IDS_HERE, page: "page-aa-bb-cc-dd"};
const ROWS = [4, 0, 2], GIVEN = [0, 1, 0], SUGGESTED = [1, 0, 1];
const TOKENS = ["1", "2"];
const CODES = new Map(TOKENS.map((token, code) => [token, code]));
const IDS = new Map((DATA.ids || []).map((token, item) => [token, item]));
const ITEMS = new Map(ROWS.map((row, item) => [row, item]));
const decisions = new Map();
const counted = (n, noun) => `${n} ${noun}s`, numberText = String;
const decide = (changes) => changes.forEach(([item, d]) => decisions.set(item, d));
"""
HEADER = "row,id,given,suggested,decision,label,page"


LINES = {
    "4,,1,2,remove,,page-aa-bb-cc-dd": 0,
    '9,"""r4""",1,2,remove,,page-99-bb-99-dd': 0,  # the same rows in another order
    "9,r4,1.0,2,remove,,": 0,
    "4.0,,1,2,remove,,": 0,
    "9,7.0,1,2,remove,,": 2,
    "4,,1,2,remove,,page-99-bb-cc-dd": None,  # other labels
    "4,,1,2,remove,,page-aa-bb-99-dd": None,  # the same rows in another order
    '4,"""r4""",1,2,remove,,page-aa-99-cc-dd': None,  # other ids
    '4,"""r9""",1,2,remove,,': None,
    "4,,2,2,remove,,": None,
}


def test_a_line_finds_its_item():
    before = DECISIONS.replace("IDS_HERE", json.dumps(['"r4"', '"r0"', "7"]))
    texts = json.dumps(["\n".join([HEADER, line, " ,,,,,,", ""]) for line in LINES])
    then = f"""
    console.log(JSON.stringify({texts}.map((text) => {{
      decisions.clear();
      const said = loadCsv(text);
      return [[...decisions.keys()], said];
    }})));
    """
    for item, (found, said) in zip(LINES.values(), in_node(before, "csv", then=then), strict=True):
        assert found == ([] if item is None else [item])
        assert ("Left out" in said) == (item is None)


def test_the_file_holds_ids_and_the_page():
    before = DECISIONS.replace("IDS_HERE", json.dumps(['"r,4"', '"r0"', "7"]))
    then = """
    decisions.set(0, {decision: "relabel", label: 1});
    decisions.set(2, {decision: "remove", label: null});
    console.log(JSON.stringify(toCsv()));
    """
    assert in_node(before, "csv", then=then).split("\r\n") == [
        HEADER,
        "2,7,1,2,remove,,page-aa-bb-cc-dd",
        '4,"""r,4""",1,2,relabel,2,page-aa-bb-cc-dd',
        "",
    ]


def test_the_badge_says_how_probably_the_label_is_wrong():
    before = """
    const byId = () => ({content: {}});
    const WRONG = [0.9731, 0.042, NaN];
    const isJudged = () => true, isSuspicious = (item) => item === 0;
    const numberText = String;
    """
    before += constant("data", "percent")
    found = in_node(before, "row", then="console.log(JSON.stringify([0, 1, 2].map(badgeOf)))")
    unbroken = [
        "wrong:\N{NO-BREAK SPACE}97\N{NO-BREAK SPACE}%",
        "wrong:\N{NO-BREAK SPACE}4.2\N{NO-BREAK SPACE}%",
    ]
    assert found == [
        f"suspicious #1, {unbroken[0]}",
        f"suspicion #2, {unbroken[1]}",
        "suspicion #3",
    ]


def constant(name, of):
    """The line of a script that defines a constant."""
    lines = (ASSETS / f"{name}.js").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"const {of} = "))
