"""Parts of the page's script that need no browser, in Node.js."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import sam_attribution.review
from sam_attribution.review import label_token
from sam_attribution.review._written_labels import WrittenLabels

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
  feed: {}, status: {}, "keys-off": {checked: false},
};
const document = {getElementById: (id) => parts[id]};
const exportDecisions = () => {}, endRange = () => {};
const openHelp = () => {}, selectAll = () => {}, takeBack = () => {}, isEnlarged = () => false;
const nameOf = (item) => `row ${item}`;
const decided = [], selected = new Set();
const act = (action, item) => decided.push(item);
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
    goTo = (position) => {{ current = position; }};
    document.querySelector = () => null;
    const press = (key) => onKey({{
      key, target: {{matches: () => false, closest: () => null}}, preventDefault() {{}},
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
    found = in_node(PAGE, "words", "list", "keys", then=then)
    for (*_, is_seen, chosen), (seen, first, both, now) in zip(SCROLLED, found, strict=True):
        assert (seen, now) == (is_seen, chosen)
        assert first == ([chosen] if is_seen else [])
        assert both == [*first, chosen]


DECISIONS = """
const DATA = {ids: IDS_HERE, page: "page-aa-bb-cc-dd"};
const ROWS = [4, 0, 2], GIVEN = [0, 1, 0], SUGGESTED = [1, 0, 1];
const TOKENS = ["1", "2"], TEXTS = ["1", "2"];
const CODES = new Map(TOKENS.map((token, code) => [token, code]));
const IDS = new Map((DATA.ids || []).map((token, item) => [token, item]));
const ITEMS = new Map(ROWS.map((row, item) => [row, item]));
const decisions = new Map();
const decide = (changes) => changes.forEach(([item, d]) => decisions.set(item, d));
"""
HEADER = "row,id,given,suggested,decision,label,page,reviewer,time,note"


SCRIPTS = ("words", "labels", "csv", "merge")

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
    texts = json.dumps(["\n".join([HEADER, line, " ,,,,,,,,,", ""]) for line in LINES])
    then = f"""
    console.log(JSON.stringify({texts}.map((text) => {{
      decisions.clear();
      const said = loadCsv(text);
      return [[...decisions.keys()], said];
    }})));
    """
    for item, (found, said) in zip(
        LINES.values(), in_node(before, *SCRIPTS, then=then), strict=True
    ):
        assert found == ([] if item is None else [item])
        assert ("Left out" in said) == (item is None)


def test_the_file_holds_ids_and_the_page():
    before = DECISIONS.replace("IDS_HERE", json.dumps(['"r,4"', '"r0"', "7"]))
    then = """
    const at = "2026-01-02T03:04:05Z";
    decisions.set(0, {decision: "relabel", label: 1, by: "Ana", at, note: "=1\\u202e, so"});
    decisions.set(2, {decision: "remove", label: null, by: "", at: "", note: ""});
    console.log(JSON.stringify(toCsv()));
    """
    assert in_node(before, *SCRIPTS, then=then).split("\r\n") == [
        HEADER,
        "2,7,1,2,remove,,page-aa-bb-cc-dd,,,",
        '4,"""r,4""",1,2,relabel,2,page-aa-bb-cc-dd,"""Ana""",2026-01-02T03:04:05Z,'
        '"""=1\\u202e, so"""',
        "",
    ]


def test_the_badge_says_how_probably_the_label_is_wrong():
    before = """
    const document = {getElementById: () => ({content: {}})};
    const WRONG = [1, 0.9731, 0.042, 0.001, NaN], PLACES = [1, 2, 3, 4, 5];
    const isJudged = () => true, isSuspicious = (item) => item < 2, isGrid = false;
    """
    then = "console.log(JSON.stringify(WRONG.map((_, item) => badgeOf(item))))"
    found = in_node(before, "words", "row", then=then)
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in found] == [
        "suspicious #1, > 99 % likely wrong",
        "suspicious #2, 97 % likely wrong",
        "#3, 4 % likely wrong",
        "#4, < 1 % likely wrong",
        "#5",
    ]


RANKS = [[1, 1, 90], [60, 4, 5], [2, 0, 3], [11, 95, 96], [10, 51, 50]]


def test_signals_disagree_where_one_doubts_and_another_does_not():
    before = f"""
    const DATA = {{n_samples: 100, n_suspicious: 10}};
    const PARTS = ["a", "b", "c"].map((name, k) => ({{name, ranks: {RANKS}.map((r) => r[k])}}));
    """
    then = """
    const told = (item) => signalsDisagree(item) && disagreementText(item);
    console.log(JSON.stringify([0, 1, 2, 3, 4].map(told)));
    """
    assert in_node(before, "signals", then=then) == [
        "By a, b the label looks wrong; by c it looks right.",
        "By b, c the label looks wrong; by a it looks right.",
        False,
        False,
        "By a the label looks wrong; by b it looks right.",
    ]


TEXTS = {
    "a\u202eb": "a⟨U+202E⟩b",
    "\0\x1b": "␀␛",
    "x\u00ad\ufeff": "x⟨U+00AD⟩⟨U+FEFF⟩",
    "two\nlines\t": "two␊lines␉",
    "naïve 👩\u200d🚀 שלום": "naïve 👩\u200d🚀 שלום",  # joined pictures and scripts stay
}


def test_characters_that_cannot_be_seen_are_shown():
    then = f"console.log(JSON.stringify({json.dumps(list(TEXTS))}.map(onOneLine)))"
    assert in_node("", "words", then=then) == list(TEXTS.values())
    then = 'console.log(JSON.stringify(visible("a\\r\\nb\\tc\\u0007")))'
    assert in_node("", "words", then=then) == "a\nb\tc␇"


ADDED = ["cow", 'a "b"', "two\u00a0words", "7", "1.5", "07", "-3"]


@pytest.mark.parametrize("known", ['"1"', "1"])
def test_a_label_that_is_added_is_written_as_python_writes_it(known):
    before = f"const TOKENS = ['{known}'], TEXTS = ['1'], CODES = new Map([['{known}', 0]]);"
    then = f"""
    console.log(JSON.stringify({json.dumps(ADDED)}.map(tokenOf).map((t) => TOKENS[addLabel(t)])))
    """
    is_number = [known == "1" and text in ("7", "1.5", "-3") for text in ADDED]
    expected = [
        label_token(json.loads(text) if number else text)
        for text, number in zip(ADDED, is_number, strict=True)
    ]
    assert in_node(before, "words", "labels", then=then) == expected


MERGES = [  # mine, theirs, what stays, what stands beside it
    [None, "keep", "keep", None],
    ["keep", "keep", "keep", None],
    ["unsure", "remove", "remove", None],
    ["remove", "unsure", "remove", None],
    ["keep", "remove", "keep", "remove"],
]


def test_two_decisions_that_differ_stand_side_by_side():
    then = f"""
    const made = (decision, note) => decision && {{decision, label: null, note}};
    console.log(JSON.stringify({json.dumps(MERGES)}.map(([mine, theirs]) => {{
      const found = merged(made(mine, "m"), made(theirs, "t"));
      return [found.decision, found.other?.decision ?? null, found.note];
    }})));
    """
    found = in_node("", "merge", then=then)
    assert [each[:2] for each in found] == [merge[2:] for merge in MERGES]
    assert [each[2] for each in found] == ["t", *["m\nt"] * 4]


@pytest.mark.parametrize(
    "text",
    [
        "row,given,decision,label\n0,a,keep,\n",
        "sep=;\r\nRow;GIVEN;Decision;Label\r\n0;a;keep;\r\n",
        '"sep=,"\nrow,given,decision,label\n0,a,keep,\n',
    ],
)
def test_a_header_as_a_spreadsheet_writes_it(text):
    then = f"""
    const [names, ...lines] = cellsOf({json.dumps(text)});
    console.log(JSON.stringify([namesIn(names), lines]));
    """
    names, lines = in_node("const CODES = new Map();", "csv", then=then)
    assert names == ["row", "given", "decision", "label"]
    assert lines == [["0", "a", "keep", ""]]


@pytest.mark.parametrize(
    ("labels", "text", "meant"),
    [
        (["007", "010"], "7", 0),
        (["007", "010"], "10", 1),
        (["7", "007"], "7", 0),
        (["7", "007"], "007", 1),
        (["07", "007"], "7", None),
        ([7, "007"], "7", 0),
        (["000"], "0", 0),
        (["07a"], "7", None),
    ],
)
def test_a_label_without_its_zeros_is_read_as_python_reads_it(labels, text, meant):
    codes = json.dumps([[label_token(label), code] for code, label in enumerate(labels)])
    then = f"console.log(JSON.stringify(meantBy({text!r}, new Map({codes})) ?? null));"
    assert in_node("const CODES = new Map();", "csv", then=then) == meant
    token = WrittenLabels(labels).token(text)
    assert token == (None if meant is None else label_token(labels[meant]))
