// What was decided: item -> { decision, label, by, at, note, other }.
//   decision: "keep", "relabel", "remove" or "unsure"; label: code or null; by, at: who, and when;
//   other: what a colleague decided otherwise, until one of the two is chosen.

const decisions = new Map();
const undoable = []; // each entry: [[item, what was there before], ...]
const STORE = `label-review:${DATA.fingerprint}`;
const REVIEWER = "label-review:reviewer";
const UNDO_KEPT = 20000; // decisions
let mergedFile = ""; // key of the file that Python wrote into the page, once it has been merged
let elsewhere = []; // stored decisions about rows that this page does not show

const reviewer = () => byId("reviewer").value.trim();

const made = (decision, label) => ({
  decision, label, by: reviewer(), at: `${new Date().toISOString().slice(0, 19)}Z`,
});

// A note stays when its row is decided again.
function decide(changes) {
  undoable.push(changes.map(([item]) => [item, decisions.get(item)]));
  for (const [item, decision] of changes) {
    const note = decision?.note ?? decisions.get(item)?.note ?? "";
    put(item, decision && { ...decision, note });
  }
  save();
}

// The items whose last decision was taken back.
function undo() {
  const changes = undoable.pop() || [];
  for (const [item, before] of changes) put(item, before);
  if (changes.length) save();
  return changes.map(([item]) => item);
}

function put(item, decision) {
  if (decision === undefined) decisions.delete(item);
  else decisions.set(item, decision);
}

// A decision as a list for the store, and back.
function entryOf(item, decided) {
  if (!decided) return [ROWS[item]];
  const { decision, label, by, at, note, other } = decided;
  const entry = [ROWS[item], decision, label === null ? null : TOKENS[label], by, at, note];
  return other ? [...entry, entryOf(item, other)] : entry;
}

function decisionFrom([, decision, token, by, at, note, other]) {
  if (!decision) return undefined;
  const decided = { decision, label: token === null ? null : addLabel(token), by, at, note };
  return other ? { ...decided, other: decisionFrom(other) } : decided;
}

// The last steps that can be undone, of some size together.
function lastSteps() {
  let room = UNDO_KEPT;
  const first = undoable.findLastIndex((step) => (room -= step.length) < 0);
  return undoable.slice(first + 1).map((step) => step.map(([item, d]) => entryOf(item, d)));
}

function save() {
  const entries = Array.from(decisions, ([item, decided]) => entryOf(item, decided));
  try {
    const texts = Array.from(drafts, ([item, text]) => [ROWS[item], text]);
    const kept = { decisions: [...entries, ...elsewhere], drafts: texts, undo: lastSteps(), merged: mergedFile };
    localStorage.setItem(STORE, JSON.stringify(kept));
  } catch {
    warnOfStorage();
  }
}

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) || '{"decisions":[],"undo":[],"merged":""}');
    byId("reviewer").value = localStorage.getItem(REVIEWER) || "";
    const isHere = ([row]) => ITEMS.has(row);
    const read = (entry) => [ITEMS.get(entry[0]), decisionFrom(entry)];
    byId("keys-off").checked = localStorage.getItem(KEYS_OFF) === "yes";
    decisions.clear();
    for (const [item, decided] of kept.decisions.filter(isHere).map(read)) put(item, decided);
    drafts.clear();
    for (const [row, text] of (kept.drafts || []).filter(isHere)) drafts.set(ITEMS.get(row), text);
    const steps = kept.undo.map((step) => step.filter(isHere).map(read));
    undoable.splice(0, Infinity, ...steps.filter((step) => step.length));
    elsewhere = kept.decisions.filter((entry) => !isHere(entry));
    mergedFile = kept.merged;
    localStorage.setItem(STORE, JSON.stringify(kept)); // denied now rather than later
  } catch {
    warnOfStorage();
  }
}

function warnOfStorage() {
  warn("This browser keeps nothing for this page: your decisions are lost when you close it. " +
    "Download them before.");
}

function wordsOf(item, { decision, label }) {
  if (decision === "keep") return `kept as ${TEXTS[GIVEN[item]]}`;
  if (decision === "remove") return "removed";
  return decision === "unsure" ? "not sure" : `changed to ${TEXTS[label]}`;
}

const decisionText = (item) => (decisions.has(item) ? wordsOf(item, decisions.get(item)) : "undecided");

const nDecidedOf = (chosen) => chosen.filter((item) => decisions.has(item)).length;

const isIn = (item, decision) => decisions.get(item)?.decision === decision;
