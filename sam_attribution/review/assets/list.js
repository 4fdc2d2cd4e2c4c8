// The rows that can be seen, and a few more: the rest of the list is empty space. In a grid,
// several rows stand on a line.

const scroller = byId("scroller");
const feed = byId("feed");
const MARGIN = 6; // rows beyond the edge
const drawn = new Map(); // item -> element
let items = [];
let current = 0; // position in items
let isGrid = false;
let perLine = 1;
let rowHeight = 1;
let rowWidth = 0;

function measure() {
  const probe = rowTemplate.cloneNode(true);
  feed.append(probe);
  rowHeight = probe.offsetHeight;
  rowWidth = isGrid ? probe.offsetWidth : 0;
  perLine = isGrid ? Math.max(1, Math.floor(scroller.clientWidth / rowWidth)) : 1;
  feed.style.maxWidth = isGrid ? `${perLine * rowWidth}px` : "";
  probe.remove();
  room = 8 * parseFloat(getComputedStyle(document.documentElement).fontSize);
}

const topOf = (position) => Math.floor(position / perLine) * rowHeight;

function setItems(found, at) {
  items = found;
  endRange();
  current = Math.max(0, Math.min(at, items.length - 1));
  byId("empty").hidden = items.length > 0;
  if (!items.length) detail.close();
  setHeight();
  draw();
}

function setHeight() {
  feed.style.height = `${Math.ceil(items.length / perLine) * rowHeight}px`;
}

function draw() {
  const margin = Math.ceil(MARGIN / perLine);
  const first = Math.max(0, Math.floor(scroller.scrollTop / rowHeight) - margin) * perLine;
  const end = (Math.ceil((scroller.scrollTop + scroller.clientHeight) / rowHeight) + margin) * perLine;
  const wanted = new Set(items.slice(first, end));
  for (const [item, row] of drawn) {
    if (wanted.has(item)) continue;
    row.remove();
    drawn.delete(item);
  }
  for (let position = first; position < Math.min(end, items.length); position++) {
    place(items[position], position);
  }
}

function place(item, position) {
  let row = drawn.get(item);
  if (!row) {
    row = makeRow(item);
    drawn.set(item, row);
    feed.append(row);
  }
  row.style.transform = `translate(${(position % perLine) * rowWidth}px, ${topOf(position)}px)`;
  row.setAttribute("aria-posinset", String(position + 1));
  row.setAttribute("aria-setsize", String(items.length));
  row.classList.toggle("is-selected", selected.has(item));
  row.querySelector(".pick input").checked = selected.has(item);
  setCurrent(row, position === current);
}

// Tab goes through the controls of the current row only, and then out of the list.
function setCurrent(row, isCurrent) {
  row.classList.toggle("is-current", isCurrent);
  if (row.tabIndex === (isCurrent ? 0 : -1) && row.dataset.hasTabs) return;
  row.dataset.hasTabs = "yes";
  row.tabIndex = isCurrent ? 0 : -1;
  for (const control of row.querySelectorAll("button, input")) control.tabIndex = row.tabIndex;
}

// Whether at least half of a row can be seen, or it fills half of the screen.
function isOnScreen(position) {
  const top = Math.max(topOf(position), scroller.scrollTop);
  const bottom = Math.min(topOf(position) + rowHeight, scroller.scrollTop + scroller.clientHeight);
  return 2 * (bottom - top) >= Math.min(rowHeight, scroller.clientHeight);
}

// Make a row the current one, scroll it into view, and give it the focus.
function goTo(position, { focus = true } = {}) {
  if (!items.length) {
    if (focus) byId("show-all").focus();
    return;
  }
  current = Math.max(0, Math.min(position, items.length - 1));
  const top = topOf(current);
  const room = Math.max(0, scroller.clientHeight - rowHeight);
  const ahead = Math.min(rowHeight, room) / 2; // what is seen of the neighbour
  if (top - ahead < scroller.scrollTop) scroller.scrollTop = top - ahead;
  else if (top + ahead > scroller.scrollTop + room) scroller.scrollTop = top + ahead - room;
  draw();
  showDetail();
  scroller.scrollIntoView({ block: "nearest" }); // on a low screen the page scrolls
  if (focus && !isEnlarged()) drawn.get(items[current]).focus({ preventScroll: true });
}

// After scrolling, the current row may be out of sight: then make the first one current that can
// be seen, and return true.
function backOnScreen() {
  if (!items.length || isOnScreen(current)) return false;
  const first = Math.floor(scroller.scrollTop / rowHeight) * perLine;
  goTo(isOnScreen(first) ? first : first + perLine);
  return true;
}

// Draws the rows anew, with the same one at the top.
function layOut() {
  const top = Math.floor(scroller.scrollTop / rowHeight) * perLine;
  measure();
  setHeight();
  scroller.scrollTop = topOf(top);
  draw();
}

function setGrid(wanted) {
  isGrid = wanted;
  document.body.classList.toggle("is-grid", isGrid);
  byId("grid").setAttribute("aria-pressed", String(isGrid));
  for (const row of drawn.values()) row.remove();
  drawn.clear();
  layOut();
  goTo(current);
}

function watchList() {
  let isWaiting = false;
  scroller.addEventListener("scroll", () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      draw();
    });
  }, { passive: true });
  new ResizeObserver(layOut).observe(scroller);
}
