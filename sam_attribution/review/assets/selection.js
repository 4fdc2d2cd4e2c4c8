// Rows that are selected to be decided together.

const selected = new Set();

function showSelection() {
  byId("selection").hidden = selected.size === 0;
  byId("n-selected").textContent = `${counted(selected.size, "row")} selected`;
  draw();
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

// All rows that the filters show; none if they are selected already.
function selectAll() {
  select(items, !items.every((item) => selected.has(item)));
  announce(selected.size ? `${counted(selected.size, "row")} selected.` : "Nothing is selected.");
}

function clearSelection() {
  selected.clear();
  showSelection();
}
