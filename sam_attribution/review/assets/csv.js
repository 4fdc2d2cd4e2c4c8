// Decisions as CSV and back. Labels stand as JSON tokens, one line each.

const COLUMNS = ["row", "given", "suggested", "decision", "label"];

const quoted = (text) => (/[",\r\n;\t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function toCsv() {
  const items = Array.from(decisions.keys()).sort((a, b) => ROWS[a] - ROWS[b]);
  const lines = items.map((item) => {
    const { decision, label } = decisions.get(item);
    const token = label === null ? "" : TOKENS[label];
    const cells = [String(ROWS[item]), TOKENS[GIVEN[item]], TOKENS[SUGGESTED[item]], decision, token];
    return cells.map(quoted).join(",");
  });
  return [COLUMNS.join(","), ...lines, ""].join("\r\n");
}

function download() {
  const blob = new Blob(["\ufeff", toCsv()], { type: "text/csv;charset=utf-8" });
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = "label-decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return decisions.size;
}

function cellsOf(text) {
  const header = text.split("\n", 1)[0];
  const count = (c) => header.split(c).length;
  const comma = [",", ";", "\t"].reduce((a, b) => (count(b) > count(a) ? b : a));
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${comma}\\r\\n]*))(${comma}|\\r\\n|\\n|\\r|$)`, "y");
  const lines = [[]];
  for (let found = field.exec(text); found; found = field.exec(text)) {
    const [, inQuotes, plain, end] = found;
    lines.at(-1).push(inQuotes === undefined ? plain : inQuotes.replaceAll('""', '"'));
    if (end === "") break;
    if (end !== comma) lines.push([]);
  }
  return lines.filter((cells) => cells.length > 1 || cells[0] !== "");
}

// Takes the decisions of a CSV over. Returns a sentence on what was taken.
function loadCsv(text) {
  const [header = [], ...lines] = cellsOf(text.replace(/^\ufeff/, ""));
  const missing = COLUMNS.filter((name) => name !== "suggested" && !header.includes(name));
  if (missing.length) return `Nothing loaded: the file has no column ${missing.join(", ")}.`;
  const changes = [];
  const refused = [];
  for (const cells of lines) {
    const cell = (name) => (cells[header.indexOf(name)] || "").trim();
    const change = changeOf(cell);
    if (change) changes.push(change);
    else refused.push(cell("row"));
  }
  if (changes.length) decide(changes);
  const taken = `Loaded ${counted(changes.length, "decision")}.`;
  if (!refused.length) return taken;
  const some = refused.slice(0, 5).join(", ") + (refused.length > 5 ? ", …" : "");
  return `${taken} Left out ${numberText(refused.length)} that do not fit this page: row ${some}.`;
}

// The label that a text means: exact, or as a person or a spreadsheet wrote it.
function codeOf(text) {
  const spellings = [text, text.toLowerCase(), `${text}.0`, JSON.stringify(text)];
  return CODES.get(spellings.find((spelling) => CODES.has(spelling)));
}

function changeOf(cell) {
  const item = /^\d+$/.test(cell("row")) ? ITEMS.get(Number(cell("row"))) : undefined;
  if (item === undefined || codeOf(cell("given")) !== GIVEN[item]) return null;
  const decision = cell("decision");
  if (decision === "keep") return [item, { decision, label: GIVEN[item] }];
  if (decision === "remove") return [item, { decision, label: null }];
  const label = codeOf(cell("label"));
  return decision === "relabel" && label !== undefined ? [item, { decision, label }] : null;
}
