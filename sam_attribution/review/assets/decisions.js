// What was decided: item -> { decision: "keep" | "relabel" | "remove", label: code or null }.

const decisions = new Map();
const undoable = []; // each entry: [[item, what was there before], ...]
const STORE = `label-review:${DATA.fingerprint}`;

function decide(changes) {
  undoable.push(changes.map(([item]) => [item, decisions.get(item)]));
  for (const [item, decision] of changes) put(item, decision);
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

function save() {
  const entries = Array.from(decisions, ([item, d]) => [
    ROWS[item], d.decision, d.label === null ? null : TOKENS[d.label],
  ]);
  try {
    localStorage.setItem(STORE, JSON.stringify(entries));
  } catch {
    warnOfStorage();
  }
}

function restore() {
  try {
    const entries = JSON.parse(localStorage.getItem(STORE) || "[]");
    decisions.clear();
    for (const [row, decision, token] of entries) {
      put(ITEMS.get(row), { decision, label: token === null ? null : CODES.get(token) });
    }
    localStorage.setItem(STORE, JSON.stringify(entries)); // denied now rather than later
  } catch {
    warnOfStorage();
  }
}

function warnOfStorage() {
  warn("This browser keeps nothing for this page: your decisions are lost when you close it. " +
    "Download them before.");
}

function decisionText(item) {
  const decided = decisions.get(item);
  if (!decided) return "undecided";
  if (decided.decision === "keep") return `kept as ${TEXTS[GIVEN[item]]}`;
  if (decided.decision === "remove") return "removed";
  return `changed to ${TEXTS[decided.label]}`;
}
