// Decisions as CSV and back. Labels stand as JSON tokens, one line each.

const COLUMNS = ["row", "id", "given", "suggested", "decision", "label", "page"];

const quoted = (text) => (/[",\r\n;\t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function toCsv() {
  const items = Array.from(decisions.keys()).sort((a, b) => ROWS[a] - ROWS[b]);
  const lines = items.map((item) => {
    const { decision, label } = decisions.get(item);
    const token = label === null ? "" : TOKENS[label];
    const id = DATA.ids ? DATA.ids[item] : "";
    const labels = [TOKENS[GIVEN[item]], TOKENS[SUGGESTED[item]], decision, token];
    const cells = [String(ROWS[item]), id, ...labels, DATA.page];
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
  const header = text.trimStart().split("\n", 1)[0].replaceAll('"', "");
  const count = (c) => header.split(c).filter((name) => COLUMNS.includes(name.trim())).length;
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
  const [names = [], ...lines] = cellsOf(text.replace(/^\ufeff/, ""));
  const header = names.map((name) => name.trim());
  const missing = ["given", "decision", "label"].filter((name) => !header.includes(name));
  if (!header.includes("row") && !header.includes("id")) missing.unshift("row or id");
  if (missing.length) return `Nothing loaded: the file has no column ${missing.join(", ")}.`;
  const changes = [];
  const refused = [];
  for (const cells of lines) {
    const cell = (name) => (cells[header.indexOf(name)] || "").trim();
    if (!COLUMNS.slice(0, -1).some(cell)) continue; // an empty line of a spreadsheet
    const change = changeOf(cell);
    if (change) changes.push(change);
    else refused.push(cell("row") || cell("id"));
  }
  if (changes.length) decide(changes);
  const taken = `Loaded ${counted(changes.length, "decision")}.`;
  if (!refused.length) return taken;
  const some = refused.slice(0, 5).join(", ") + (refused.length > 5 ? ", …" : "");
  return `${taken} Left out ${numberText(refused.length)} that do not fit this page: row ${some}.`;
}

// What a text means among tokens: exact, or as a person or a spreadsheet wrote it.
function meantBy(text, known) {
  const whole = text.replace(/^(-?\d{1,15})\.0$/, "$1");
  const spellings = [text, text.toLowerCase(), `${text}.0`, JSON.stringify(text), whole];
  return known.get(spellings.find((spelling) => known.has(spelling)));
}

const codeOf = (text) => meantBy(text, CODES);

// The item that a line is about: by its id, or else by its position if the page had this order.
function itemOf(cell) {
  const [, labels, named, rows, contents] = (cell("page") || DATA.page).split("-");
  const [, labelsHere, namedHere, rowsHere, contentsHere] = DATA.page.split("-");
  if (DATA.ids && cell("id") && named !== "0") {
    return named === namedHere ? meantBy(cell("id"), IDS) : undefined;
  }
  const isMoved = contents === contentsHere && rows !== rowsHere;
  if (labels !== labelsHere || isMoved || !/^\d+(\.0*)?$/.test(cell("row"))) return undefined;
  return ITEMS.get(Number(cell("row")));
}

function changeOf(cell) {
  const item = itemOf(cell);
  if (item === undefined || codeOf(cell("given")) !== GIVEN[item]) return null;
  const decision = cell("decision");
  if (decision === "keep") return [item, { decision, label: GIVEN[item] }];
  if (decision === "remove") return [item, { decision, label: null }];
  const label = codeOf(cell("label"));
  return decision === "relabel" && label !== undefined ? [item, { decision, label }] : null;
}
