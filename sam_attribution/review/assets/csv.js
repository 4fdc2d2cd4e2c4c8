// Decisions as CSV and back. Labels stand as JSON tokens, one line each.

const OF_A_PERSON = ["row", "id", "given", "suggested", "decision", "label"];
const COLUMNS = [...OF_A_PERSON, "page", "reviewer", "time", "note"];

const quoted = (text) => (/[",\r\n;\t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

// Typed text as JSON, which no spreadsheet takes for a formula.
const remark = (text) => (text ? tokenOfText(text) : "");

function toCsv() {
  const items = Array.from(decisions.keys()).sort((a, b) => ROWS[a] - ROWS[b]);
  const lines = items.map((item) => {
    const { decision, label, by, at, note } = decisions.get(item);
    const token = label === null ? "" : TOKENS[label];
    const id = DATA.ids ? DATA.ids[item] : "";
    const labels = [TOKENS[GIVEN[item]], TOKENS[SUGGESTED[item]], decision, token];
    const cells = [String(ROWS[item]), id, ...labels, DATA.page, remark(by), at, remark(note)];
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

// Names of columns in small letters, where a spreadsheet has others.
function namesIn(header) {
  const small = header.map((name) => name.trim().toLowerCase());
  const isAlone = (name) => COLUMNS.includes(name) && small.filter((each) => each === name).length === 1;
  return header.map((name, at) => (isAlone(small[at]) ? small[at] : name.trim()));
}

function cellsOf(csv) {
  const text = csv.replace(/^\s*"?sep=[,;\t]?"?[,;]*\r?\n/, ""); // which tells it to a spreadsheet
  const header = text.trimStart().split("\n", 1)[0].replaceAll('"', "");
  const isColumn = (name) => COLUMNS.includes(name.trim().toLowerCase());
  const count = (c) => header.split(c).filter(isColumn).length;
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

// What a text means among tokens: exact, or as a person or a spreadsheet wrote it.
function meantBy(text, known) {
  const whole = text.replace(/^(-?\d{1,15})\.0$/, "$1");
  const spellings = [text, text.toLowerCase(), `${text}.0`, JSON.stringify(text), whole];
  return known.get(spellings.find((spelling) => known.has(spelling)) ?? withZeros(text, known));
}

// The only token such as "007" of which a spreadsheet makes 7.
function withZeros(text, known) {
  if (!/^\d+$/.test(text)) return undefined;
  const alike = [...known.keys()].filter((token) => token.replace(/^"0+(\d+)"$/, "$1") === text);
  return alike.length === 1 ? alike[0] : undefined;
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

function plain(text) {
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}

// [item, decision] of a line, or null if it is not about a row of this page.
function lineOf(cell) {
  const item = itemOf(cell);
  if (item === undefined || codeOf(cell("given")) !== GIVEN[item]) return null;
  const decision = cell("decision").toLowerCase();
  const about = { by: plain(cell("reviewer")), at: cell("time"), note: plain(cell("note")) };
  if (decision === "keep") return [item, { decision, label: GIVEN[item], ...about }];
  if (decision === "remove" || decision === "unsure") return [item, { decision, label: null, ...about }];
  if (decision !== "relabel") return null;
  const label = codeOf(cell("label")) ?? addedBy(cell("label"));
  return label === undefined ? null : [item, { decision, label, ...about }];
}
