// What keys do.

const KEYS = {
  k: () => decideBy("keep"),
  r: () => decideBy("suggested"),
  c: () => decideBy("other"),
  x: () => decideBy("remove"),
  s: () => decideBy("unsure"),
  n: () => act("note", items[current]),
  z: () => (isEnlarged() ? detail.close() : act("enlarge", items[current])),
  u: takeBack,
  g: () => setGrid(!isGrid),
  a: selectAll,
  j: () => goTo(current + 1),
  i: () => goTo(current - 1),
  " ": () => toggle(items[current]),
  d: exportDecisions,
  f: () => (isEnlarged() ? switchSize() : focusFilter("state")),
  "/": () => focusFilter("search"),
  "?": openHelp,
};

// Positions that keys go to; with Shift, they select the rows up to there.
const MOVES = {
  ArrowDown: () => current + perLine,
  ArrowUp: () => current - perLine,
  ArrowRight: () => current + (isGrid ? 1 : 0),
  ArrowLeft: () => current - (isGrid ? 1 : 0),
  Home: () => 0,
  End: () => items.length - 1,
};

// Keys about the current row; those that a held key does not repeat; and those of the head.
const ROW_KEYS = [..."krcxsnzji ", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft"];
const ONCE = [..."krcxsnzd"];
const HEAD_KEYS = [..."dfg/?"];
const KEYS_OFF = "label-review:keys-off";

function decideBy(action) {
  if (selected.size) actOnAll(action);
  else act(action, items[current]);
}

// Nothing is decided about a row that cannot be seen: true if another one was made current.
function hasMovedToSight() {
  if (isEnlarged() || selected.size || !backOnScreen()) return false;
  announce(`Now at ${nameOf(items[current])}, the first row on the screen.`);
  return true;
}

// The name of a key, whether Caps Lock is on or not.
const nameOfKey = (event) => (event.key.length === 1 ? event.key.toLowerCase() : event.key);

// True where typing is for the element that has the focus.
function isTyping({ target }, key) {
  if (target.matches("input[type=checkbox], input[type=file], button, summary")) return key === " " || key === "Enter";
  if (target.matches(".content")) return key.startsWith("Arrow"); // of an image larger than its room
  return target.matches("input, select, textarea");
}

// True for a key about rows while a control of the head has the focus.
const isElsewhere = ({ target }, key) => target.closest("header") !== null && !HEAD_KEYS.includes(key);

const isForDialog = () => document.querySelector("dialog[open]:not(#detail)") !== null;

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isForDialog()) return;
  const key = nameOfKey(event);
  if (key === "Escape" && !isEnlarged()) leave(event);
  if (isTyping(event, key) || !(Object.hasOwn(KEYS, key) || Object.hasOwn(MOVES, key))) return;
  if (key.length === 1 && byId("keys-off").checked) return;
  if (isElsewhere(event, key)) return announce("Press Esc first: this key is about the rows.");
  if (ROW_KEYS.includes(key) && !items.length) return;
  if (ONCE.includes(key) && event.repeat) return;
  event.preventDefault();
  if (ROW_KEYS.includes(key) && hasMovedToSight()) return;
  if (Object.hasOwn(MOVES, key)) return move(MOVES[key](), event.shiftKey && !isEnlarged());
  endRange();
  KEYS[key]();
}

function move(position, isRange) {
  if (isRange) return extendTo(position);
  endRange();
  goTo(position);
}

// Escape: out of a control of the head, of the selection, or of the search.
function leave({ target }) {
  const isInHead = target.closest("header");
  if (selected.size && !isInHead) clearSelection();
  else if (target === searchBox || !isInHead) endSearch();
  goTo(current);
}

function watchKeys() {
  document.addEventListener("keydown", onKey);
  byId("keys-off").addEventListener("change", (event) => {
    remember(KEYS_OFF, event.target.checked ? "yes" : "");
  });
}
