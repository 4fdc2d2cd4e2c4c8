// The help, and the choice of any label.

const choose = byId("choose");
const chooseList = byId("choose-list");
let chosenFor = null;
let onChosen = null;

function openChoice(item, then) {
  chosenFor = item;
  onChosen = then;
  byId("choose-title").textContent = `Label for ${nameOf(item)}`;
  byId("choose-search").value = "";
  fillChoice("");
  choose.showModal();
}

function fillChoice(words) {
  const best = bestFits(chosenFor).map(([code]) => code);
  const codes = [...new Set([...best, ...TEXTS.keys()])];
  const fitting = codes.filter(
    (code) => code !== GIVEN[chosenFor] && TEXTS[code].toLowerCase().includes(words),
  );
  chooseList.replaceChildren(...fitting.map((code) => new Option(TEXTS[code], code)));
  chooseList.selectedIndex = 0;
}

// Takes the marked label; nothing where none fits the search.
function accept() {
  if (chooseList.selectedIndex < 0) return;
  choose.close();
  onChosen(Number(chooseList.value));
}

function openHelp() {
  byId("help").showModal();
  byId("help-title").focus(); // from the top
}

function watchDialogs() {
  byId("choose-search").addEventListener("input", (event) => {
    fillChoice(event.target.value.toLowerCase().trim());
  });
  byId("choose-search").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const last = chooseList.options.length - 1;
    chooseList.selectedIndex = Math.max(0, Math.min(chooseList.selectedIndex + step, last));
  });
  chooseList.addEventListener("dblclick", accept);
  chooseList.addEventListener("keydown", (event) => {
    if (event.key === "Enter") accept();
  });
  byId("choose-cancel").addEventListener("click", () => choose.close());
  choose.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    accept();
  });
  byId("help-open").addEventListener("click", openHelp);
}
