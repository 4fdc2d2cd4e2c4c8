// Rows that are selected to be decided together.

const selected = new Set();
let range = null; // the row where it began, and what was selected before

function showSelection() {
  byId("selection").hidden = selected.size === 0;
  byId("n-selected").textContent = selectionText();
  draw();
}

function selectionText() {
  const nDecided = nDecidedOf([...selected]);
  return `${counted(selected.size, "row")} selected${nDecided ? `, ${numberText(nDecided)} of them decided` : ""}`;
}

function select(chosen, isOn) {
  for (const item of chosen) {
    if (isOn) selected.add(item);
    else selected.delete(item);
  }
  showSelection();
}

const toggle = (item) => select([item], !selected.has(item));

// All rows from the current one to a position.
function selectTo(position) {
  const [first, last] = [Math.min(current, position), Math.max(current, position)];
  select(items.slice(first, last + 1), true);
}

// The arrows with Shift: all rows from where the first of them was pressed, and no others beyond.
function extendTo(position) {
  range ??= { start: current, before: [...selected] };
  goTo(position);
  const [first, last] = [Math.min(range.start, current), Math.max(range.start, current)];
  selected.clear();
  select([...range.before, ...items.slice(first, last + 1)], true);
  announce(`${selectionText()}.`);
}

function endRange() {
  range = null;
}

// All rows that the filters show; none if they are selected already.
function selectAll() {
  select(items, !items.every((item) => selected.has(item)));
  announce(selected.size ? `${selectionText()}.` : "Nothing is selected.");
}

function clearSelection() {
  selected.clear();
  showSelection();
}
