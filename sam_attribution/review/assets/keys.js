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
  " ": () => toggle(items[current]),
  ArrowDown: () => goTo(current + perLine),
  ArrowUp: () => goTo(current - perLine),
  ArrowRight: () => isGrid && goTo(current + 1),
  ArrowLeft: () => isGrid && goTo(current - 1),
  Home: () => goTo(0),
  End: () => goTo(items.length - 1),
  "/": () => byId("search").focus(),
  "?": openHelp,
};

// Keys about the current row, and those of them that a held key does not repeat.
const ROW_KEYS = [..."krcxsnzj ", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft"];
const ONCE = [..."krcxsnz"];
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
  if (target.matches("input[type=checkbox], button, summary")) return key === " " || key === "Enter";
  return target.matches("input, select, textarea");
}

const isForDialog = () => document.querySelector("dialog[open]:not(#detail)") !== null;

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isForDialog()) return;
  const key = nameOfKey(event);
  if (key === "Escape" && !isEnlarged()) leave();
  if (isTyping(event, key) || !Object.hasOwn(KEYS, key)) return;
  if (key.length === 1 && byId("keys-off").checked) return;
  if (ROW_KEYS.includes(key) && !items.length) return;
  if (ONCE.includes(key) && event.repeat) return;
  event.preventDefault();
  if (ROW_KEYS.includes(key) && hasMovedToSight()) return;
  KEYS[key]();
}

// Escape: out of a field, or out of the selection.
function leave() {
  if (selected.size) clearSelection();
  goTo(current);
}

function watchKeys() {
  document.addEventListener("keydown", onKey);
  byId("keys-off").addEventListener("change", (event) => {
    remember(KEYS_OFF, event.target.checked ? "yes" : "");
  });
}
