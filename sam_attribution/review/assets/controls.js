// Filters, buttons and keys.

const filter = { state: 0, given: null, pair: null, sort: 0, search: "" };
let pairs = [];

const announce = (text) => {
  byId("status").textContent = text;
};

function refresh(at) {
  redrawAll();
  setItems(itemsFor(filter), at);
  showProgress();
}

function showProgress() {
  const nSuspicious = SUSPICIOUS ? SUSPICIOUS.reduce((a, b) => a + b, 0) : 0;
  let done = 0;
  for (const item of decisions.keys()) done += isSuspicious(item) ? 1 : 0;
  const [part, whole, what] = nSuspicious
    ? [done, nSuspicious, "suspicious rows"]
    : [decisions.size, N, "rows"];
  const others = nSuspicious && decisions.size > done ? ` and ${numberText(decisions.size - done)} others` : "";
  byId("counter").textContent =
    `${numberText(part)} of ${numberText(whole)} ${what}${others} decided`;
  showNotes();
  byId("progress").max = whole;
  byId("progress").value = part;
  byId("export").disabled = decisions.size === 0;
  byId("undo").disabled = undoable.length === 0;
}

function showNotes() {
  const only = N < DATA.n_samples ? `, the most suspicious of ${numberText(DATA.n_samples)}` : "";
  byId("notes").textContent =
    `${numberText(items.length)} shown of ${numberText(N)} rows${only}. ${DATA.note}`;
}

// After a decision on the row at `position`: show it, and go on to the next.
function settle(item, position) {
  const stays = STATES[filter.state].fits(item);
  refresh(stays ? position + 1 : position);
  goTo(current);
  announce(`${nameOf(item)}: ${decisionText(item)}.`);
}

function act(action, item) {
  const position = items.indexOf(item);
  const settled = (decision, label) => {
    decide([[item, { decision, label }]]);
    settle(item, position);
  };
  if (action === "keep") settled("keep", GIVEN[item]);
  else if (action === "remove") settled("remove", null);
  else if (action === "other") openChoice(item, (code) => settled("relabel", code));
  else if (GIVEN[item] !== SUGGESTED[item]) settled("relabel", SUGGESTED[item]);
  else announce(`${nameOf(item)}: the suggested label is the given one. Choose another with c.`);
}

// The pressed button of a decided row makes it undecided again.
function clear(item) {
  const position = items.indexOf(item);
  decide([[item, undefined]]);
  refresh(position);
  goTo(position);
  announce(`${nameOf(item)}: ${decisionText(item)}.`);
}

function takeBack() {
  const changed = undo();
  refresh(current);
  if (!changed.length) return announce("Nothing to undo.");
  const position = items.indexOf(changed[0]);
  goTo(position < 0 ? current : position);
  return announce(changed.length > 1 ? `Took back ${counted(changed.length, "decision")}.` : `${nameOf(changed[0])}: ${decisionText(changed[0])}.`);
}

function redrawAll() {
  for (const [item, row] of drawn) showDecision(row, item);
}

const KEYS = {
  k: () => act("keep", items[current]),
  r: () => act("suggested", items[current]),
  c: () => act("other", items[current]),
  x: () => act("remove", items[current]),
  u: takeBack,
  j: () => goTo(current + 1),
  ArrowDown: () => goTo(current + 1),
  ArrowUp: () => goTo(current - 1),
  Home: () => goTo(0),
  End: () => goTo(items.length - 1),
  "/": () => byId("search").focus(),
  "?": openHelp,
};

const ROW_KEYS = ["k", "r", "c", "x", "j", "ArrowDown", "ArrowUp"];

// Nothing is decided about a row that cannot be seen: true if another one was made current.
function hasMovedToSight() {
  if (!backOnScreen()) return false;
  announce(`Now at ${nameOf(items[current])}, the first row on the screen.`);
  return true;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const isField = event.target.matches("input, select, textarea");
  if (event.key === "Escape" && isField) goTo(current);
  if (isField || !Object.hasOwn(KEYS, event.key)) return;
  if ("krcx".includes(event.key) && (!items.length || event.repeat)) return;
  event.preventDefault();
  if (ROW_KEYS.includes(event.key) && hasMovedToSight()) return;
  KEYS[event.key]();
}

function options(id, entries) {
  byId(id).replaceChildren(...entries.map(([text, value]) => new Option(text, value)));
}

function fillFilters() {
  const counts = new Array(TEXTS.length).fill(0);
  GIVEN.forEach((code) => counts[code]++);
  pairs = confusionPairs();
  options("state", STATES.map((state, k) => [state.name, k]));
  options("sort", SORTS.map((sort, k) => [sort.name, k]));
  options("class", [["any", ""], ...TEXTS.map((text, code) => [`${text} (${numberText(counts[code])})`, code])]);
  options("pair", [["any", ""], ...pairs.map(([a, b, n], k) => [`${TEXTS[a]} → ${TEXTS[b]} (${numberText(n)})`, k])]);
  filter.state = STATES.findIndex((state) => state.name === "suspicious" && SUSPICIOUS.includes(1));
  filter.state = Math.max(0, filter.state);
  byId("state").value = filter.state;
}

function readFilters() {
  filter.state = Number(byId("state").value);
  filter.given = byId("class").value === "" ? null : Number(byId("class").value);
  filter.pair = byId("pair").value === "" ? null : pairs[Number(byId("pair").value)];
  filter.sort = Number(byId("sort").value);
  filter.search = byId("search").value;
  scroller.scrollTop = 0;
  refresh(0);
  announce(`${counted(items.length, "row")} shown.`);
}

function showAll() {
  byId("filters").querySelector("form").reset();
  readFilters();
}

async function loadFile(event) {
  const [file] = event.target.files;
  if (!file) return;
  const message = loadCsv(await file.text());
  event.target.value = ""; // the same file can be chosen again
  refresh(0);
  announce(message);
}

function watchControls() {
  const form = byId("filters").querySelector("form");
  let byPointer = false;
  form.addEventListener("pointerdown", () => {
    byPointer = true;
  });
  form.addEventListener("keydown", () => {
    byPointer = false;
  });
  byId("search").addEventListener("input", readFilters);
  form.addEventListener("change", (event) => {
    if (!event.target.matches("select")) return;
    readFilters();
    if (byPointer) goTo(current); // the keys are for rows again
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("show-all").addEventListener("click", showAll);
  byId("undo").addEventListener("click", takeBack);
  byId("export").addEventListener("click", () => announce(`Downloaded ${counted(download(), "decision")}.`));
  byId("file").addEventListener("change", loadFile);
  feed.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row) return;
    const isByKey = event.detail === 0;
    if (isByKey && hasMovedToSight()) return;
    goTo(items.indexOf(Number(row.dataset.item)));
    const button = event.target.closest("button");
    if (button?.getAttribute("aria-pressed") === "true") clear(Number(row.dataset.item));
    else if (button) act(button.dataset.do, Number(row.dataset.item));
  });
  feed.addEventListener("focusin", (event) => {
    const row = event.target.closest(".row");
    current = items.indexOf(Number(row.dataset.item));
    draw();
  });
  document.addEventListener("keydown", onKey);
  addEventListener("storage", (event) => {
    if (event.key !== STORE) return; // decided in another tab
    const item = items[current];
    restore();
    refresh(current);
    if (items.includes(item)) refresh(items.indexOf(item));
  });
}
