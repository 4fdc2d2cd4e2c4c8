// The help, and the choice of any label.

const choose = byId("choose");
const chooseList = byId("choose-list");
const NEW = "new"; // value of the option that adds a label
let chosenFor = [];
let onChosen = null;

function openChoice(chosen, then) {
  chosenFor = chosen;
  onChosen = then;
  byId("choose-title").textContent =
    `Label for ${chosen.length > 1 ? counted(chosen.length, "row") : nameOf(chosen[0])}`;
  byId("choose-search").value = "";
  fillChoice("");
  choose.showModal();
}

const typedLabel = () => byId("choose-search").value.trim();

function fillChoice(words) {
  const only = chosenFor.length === 1 ? chosenFor[0] : null;
  const best = only === null ? [] : bestFits(only).map(([code]) => code);
  const codes = [...new Set([...best, ...TEXTS.keys()])];
  const isOffered = (code) => only === null || code !== GIVEN[only];
  const fitting = codes.filter((code) => isOffered(code) && TEXTS[code].toLowerCase().includes(words));
  const options = fitting.map((code) => new Option(TEXTS[code], code));
  if (words && only !== null && TEXTS[GIVEN[only]].toLowerCase().includes(words)) {
    options.push(new Option(`${TEXTS[GIVEN[only]]} is the given label: Enter keeps it`, GIVEN[only]));
  }
  const isNew = words && !TEXTS.some((text) => text.toLowerCase() === words);
  if (isNew) options.push(new Option(`New label: ${onOneLine(typedLabel())}`, NEW));
  for (const option of options) option.dir = "auto";
  chooseList.replaceChildren(...options);
  chooseList.selectedIndex = 0;
}

// Takes the marked label; nothing where none fits the search.
function accept() {
  if (chooseList.selectedIndex < 0) return;
  const code = chooseList.value === NEW ? addLabel(tokenOf(typedLabel())) : Number(chooseList.value);
  choose.close();
  onChosen(code);
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
    if (event.key !== "Enter") return;
    event.preventDefault(); // the key would press the button that gets the focus next
    accept();
  });
  byId("choose-cancel").addEventListener("click", () => choose.close());
  choose.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    accept();
  });
  byId("help-open").addEventListener("click", openHelp);
}
