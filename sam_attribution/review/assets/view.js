// Which items are shown, in which order.

const SORTS = [
  { name: "most suspicious first", key: null },
  { name: "given label", key: (item) => GIVEN[item] },
  { name: "suggested label", key: (item) => SUGGESTED[item] },
  { name: "row number", key: (item) => ROWS[item] },
  ...PARTS.map((part) => ({
    name: `signal: ${part.name}`,
    key: (item) => part.ranks[item] || Infinity,
  })),
];

const STATES = [
  { name: "all rows", fits: () => true },
  { name: "suspicious", fits: isSuspicious, needs: SUSPICIOUS },
  { name: "suspicious, undecided", fits: (i) => isSuspicious(i) && !decisions.has(i), needs: SUSPICIOUS },
  { name: "undecided", fits: (item) => !decisions.has(item) },
  { name: "decided", fits: (item) => decisions.has(item) },
  { name: "not sure", fits: (item) => isIn(item, "unsure") },
  { name: "conflicts", fits: hasConflict },
  { name: "with a note", fits: (item) => noteText(item) !== "" },
  { name: "signals disagree", fits: signalsDisagree, needs: PARTS.length > 1 },
  { name: "not judged", fits: (item) => !isJudged(item), needs: SCORES.some(Number.isNaN) },
].filter((state) => state.needs === undefined || state.needs);

const MOST_PAIRS = 300;

// [given, suggested, count], most frequent first, of rows whose suggestion differs.
function confusionPairs() {
  const counts = new Map();
  for (let item = 0; item < N; item++) {
    if (GIVEN[item] === SUGGESTED[item]) continue;
    const pair = GIVEN[item] * TEXTS.length + SUGGESTED[item];
    counts.set(pair, (counts.get(pair) || 0) + 1);
  }
  const sorted = Array.from(counts).sort((a, b) => b[1] - a[1]).slice(0, MOST_PAIRS);
  return sorted.map(([pair, n]) => [Math.floor(pair / TEXTS.length), pair % TEXTS.length, n]);
}

const haystacks = new Array(N);

// All the text of an item, in lower case.
function haystack(item) {
  haystacks[item] ??= [
    `row ${ROWS[item]}`,
    TEXTS[GIVEN[item]],
    TEXTS[SUGGESTED[item]],
    DATA.index ? DATA.index[item] : "",
    DATA.descriptions ? DATA.descriptions[item] : "",
    DATA.content.kind === "text" ? DATA.content.texts[item] : "",
    ...(DATA.content.kind === "table" ? DATA.content.cells.map((column) => column[item]) : []),
  ].join("\n").toLowerCase();
  return haystacks[item];
}

const NAMES = new Map((DATA.index || []).map((name, item) => [name.toLowerCase(), item]));

// The item whose id or row number the words are; or undefined.
function exactItem(words) {
  const number = /^(?:row |#)?(\d+)$/.exec(words);
  return NAMES.get(words) ?? (number ? ITEMS.get(Number(number[1])) : undefined);
}

function itemsFor({ state, given, pair, sort, search }) {
  const words = search.toLowerCase().trim();
  const exact = exactItem(words);
  if (exact !== undefined) return [exact];
  const items = [];
  for (let item = 0; item < N; item++) {
    if (!STATES[state].fits(item)) continue;
    if (given !== null && GIVEN[item] !== given) continue;
    if (pair !== null && (GIVEN[item] !== pair[0] || SUGGESTED[item] !== pair[1])) continue;
    if (words && !haystack(item).includes(words)) continue;
    items.push(item);
  }
  const { key } = SORTS[sort];
  return key ? items.sort((a, b) => key(a) - key(b) || a - b) : items;
}
