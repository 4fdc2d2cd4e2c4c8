// The rows that can be seen, and a few more: the rest of the list is empty space.

const scroller = byId("scroller");
const feed = byId("feed");
const MARGIN = 6; // rows beyond the edge
const drawn = new Map(); // item -> element
let items = [];
let current = 0; // position in items
let rowHeight = 1;

function measure() {
  const probe = rowTemplate.cloneNode(true);
  feed.append(probe);
  rowHeight = probe.offsetHeight;
  probe.remove();
}

function setItems(found, at) {
  items = found;
  current = Math.max(0, Math.min(at, items.length - 1));
  byId("empty").hidden = items.length > 0;
  feed.style.height = `${items.length * rowHeight}px`;
  draw();
}

function draw() {
  const first = Math.max(0, Math.floor(scroller.scrollTop / rowHeight) - MARGIN);
  const end = Math.ceil((scroller.scrollTop + scroller.clientHeight) / rowHeight) + MARGIN;
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
  row.style.transform = `translateY(${position * rowHeight}px)`;
  row.setAttribute("aria-posinset", String(position + 1));
  row.setAttribute("aria-setsize", String(items.length));
  row.tabIndex = position === current ? 0 : -1;
  row.classList.toggle("is-current", position === current);
}

// Whether at least half of a row can be seen, or it fills half of the screen.
function isOnScreen(position) {
  const top = Math.max(position * rowHeight, scroller.scrollTop);
  const bottom = Math.min((position + 1) * rowHeight, scroller.scrollTop + scroller.clientHeight);
  return 2 * (bottom - top) >= Math.min(rowHeight, scroller.clientHeight);
}

// Make a row the current one, scroll it into view, and give it the focus.
function goTo(position, { focus = true } = {}) {
  if (!items.length) return;
  current = Math.max(0, Math.min(position, items.length - 1));
  const top = current * rowHeight;
  const room = Math.max(0, scroller.clientHeight - rowHeight);
  const ahead = Math.min(rowHeight, room) / 2; // what is seen of the neighbour
  if (top - ahead < scroller.scrollTop) scroller.scrollTop = top - ahead;
  else if (top + ahead > scroller.scrollTop + room) scroller.scrollTop = top + ahead - room;
  draw();
  if (focus) drawn.get(items[current]).focus({ preventScroll: true });
}

// After scrolling, the current row may be out of sight: then make the first one current that can
// be seen, and return true.
function backOnScreen() {
  if (!items.length || isOnScreen(current)) return false;
  const first = Math.floor(scroller.scrollTop / rowHeight);
  goTo(isOnScreen(first) ? first : first + 1);
  return true;
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
  new ResizeObserver(() => {
    const top = scroller.scrollTop / rowHeight;
    measure();
    feed.style.height = `${items.length * rowHeight}px`;
    scroller.scrollTop = top * rowHeight;
    draw();
  }).observe(scroller);
}
