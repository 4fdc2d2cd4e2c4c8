// Decisions of somebody else, or of another day, beside those that are here.

const isSame = (a, b) => a.decision === b.decision && a.label === b.label;

const bothNotes = (a, b) => [...new Set([a.note, b.note].filter(Boolean))].join("\n");

// What is here becomes this: a decision goes before none and before "not sure"; of two that differ
// the one that is here stays, with the other beside it.
function merged(mine, theirs) {
  if (!mine) return theirs;
  const note = bothNotes(mine, theirs);
  if (isSame(mine, theirs) || theirs.decision === "unsure") return { ...mine, note };
  if (mine.decision === "unsure") return { ...theirs, note };
  return { ...mine, note, other: theirs };
}

// Decisions that Python wrote into the page, once: what is taken back later stays taken back.
function mergeEarlier() {
  const { key, entries } = DATA.decided || { key: "", entries: [] };
  if (!key || key === mergedFile) return;
  for (const entry of entries) {
    const item = ITEMS.get(entry[0]);
    put(item, merged(decisions.get(item), decisionFrom(entry)));
  }
  mergedFile = key;
  save();
}

// Merges the decisions of a CSV. Returns a sentence on what was taken.
function loadCsv(text) {
  const [names = [], ...lines] = cellsOf(text.replace(/^\ufeff/, ""));
  const header = namesIn(names);
  const missing = ["given", "decision", "label"].filter((name) => !header.includes(name));
  if (!header.includes("row") && !header.includes("id")) missing.unshift("row or id");
  if (missing.length) return `Nothing loaded: the file has no column ${missing.join(", ")}.`;
  const found = [];
  const refused = [];
  for (const cells of lines) {
    const cell = (name) => (cells[header.indexOf(name)] || "").trim();
    if (!OF_A_PERSON.some(cell)) continue; // an empty line of a spreadsheet
    const line = lineOf(cell);
    if (line) found.push(line);
    else refused.push(cell("row") || cell("id"));
  }
  const changes = found.map(([item, theirs]) => [item, merged(decisions.get(item), theirs)]);
  if (changes.length) decide(changes);
  return loadedText(changes, refused);
}

function loadedText(changes, refused) {
  const nConflicts = changes.filter(([, decided]) => decided.other).length;
  const sentences = [`Loaded ${counted(changes.length, "decision")}.`];
  if (nConflicts) sentences.push(`${counted(nConflicts, "row")} decided differently: choose under Show, conflicts.`);
  if (refused.length) {
    const some = refused.slice(0, 5).join(", ") + (refused.length > 5 ? ", …" : "");
    sentences.push(`Left out ${numberText(refused.length)} that do not fit this page: row ${some}.`);
  }
  return sentences.join(" ");
}

const hasConflict = (item) => decisions.get(item)?.other !== undefined;

function conflictText(item) {
  const { other } = decisions.get(item);
  return `${other.by || "A colleague"} decided: ${wordsOf(item, other)}.`;
}
