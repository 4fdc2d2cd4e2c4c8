// Which rows the filters choose.

const filter = { state: 0, given: null, pair: null, sort: 0, search: "" };
let pairs = [];

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
  filter.state = firstState();
  byId("state").value = filter.state;
}

// Where earlier decisions came along, what is left to do; never a list without rows.
function firstState() {
  const wanted = DATA.decided ? ["suspicious, undecided", "undecided"] : ["suspicious"];
  const states = [...wanted, "all rows"].map((name) => STATES.find((state) => state.name === name));
  return STATES.indexOf(states.find((state) => state && ROWS.some((_, item) => state.fits(item))));
}

function readFilters() {
  filter.state = Number(byId("state").value);
  filter.given = byId("class").value === "" ? null : Number(byId("class").value);
  filter.pair = byId("pair").value === "" ? null : pairs[Number(byId("pair").value)];
  filter.sort = Number(byId("sort").value);
  filter.search = byId("search").value;
  scroller.scrollTop = 0;
  clearSelection(); // nothing is decided about rows that are no longer shown
  refresh(0);
  announce(`${counted(items.length, "row")} shown.`);
}

function showAll(state) {
  byId("filters").querySelector("form").reset();
  byId("state").value = STATES.findIndex(({ name }) => name === state);
  readFilters();
  goTo(current);
}

// Where there is room for one line only, the filters are folded.
function focusFilter(id) {
  byId("filters").open = true;
  byId(id).focus();
}

function watchFilters() {
  const form = byId("filters").querySelector("form");
  let byPointer = false;
  form.addEventListener("pointerdown", () => {
    byPointer = true;
  });
  form.addEventListener("keydown", () => {
    byPointer = false;
  });
  form.addEventListener("change", (event) => {
    if (!event.target.matches("select")) return;
    readFilters();
    if (byPointer) goTo(current); // the keys are for rows again
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("show-all").addEventListener("click", () => showAll("all rows"));
  byId("show-undecided").addEventListener("click", () => showAll("undecided"));
}
