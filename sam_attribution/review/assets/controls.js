// Buttons, files, and other tabs.

async function loadFiles(event) {
  const messages = [];
  for (const file of event.target.files) messages.push(loadCsv(await file.text()));
  if (!messages.length) return;
  event.target.value = ""; // the same file can be chosen again
  refresh(0);
  goTo(0);
  announce(messages.join(" "));
}

function exportDecisions() {
  if (!decisions.size) return announce("Nothing is decided yet.");
  const open = Array.from(decisions.keys()).filter(hasConflict).length;
  const note = open ? ` ${counted(open, "conflict")} open: the file holds what is decided here.` : "";
  const unsaved = drafts.size ? ` ${counted(drafts.size, "note")} not saved: Show, with a note.` : "";
  return announce(`Downloaded ${counted(download(), "decision")}.${note}${unsaved}`);
}

// After a click into the head, the keys are about the rows again; after a key, the focus stays.
function onHeadClick(event) {
  if (event.detail && event.target.closest("button")) goTo(current);
}

function onRowClick(event) {
  const row = event.target.closest(".row");
  if (!row) return;
  const item = Number(row.dataset.item);
  const isByKey = event.detail === 0;
  if (isByKey && hasMovedToSight()) return;
  const button = event.target.closest("button");
  const position = items.indexOf(item);
  if (event.target.matches(".pick *")) toggleOrRange(item, position, event);
  else if (event.shiftKey && !button) selectTo(position);
  endRange();
  if (!isEnlarged()) goTo(position);
  if (button?.getAttribute("aria-pressed") === "true") clear(item);
  else if (button) act(button.dataset.do, item);
  else if (!event.target.closest(".content") || event.shiftKey) return;
  else if (!isEnlarged()) act("enlarge", item);
  else if (event.target.matches("canvas")) switchSize();
}

function toggleOrRange(item, position, event) {
  if (event.shiftKey) selectTo(position);
  else toggle(item);
}

// For later pages, if the browser stores anything.
function remember(key, text) {
  try {
    localStorage.setItem(key, text);
  } catch {
    warnOfStorage();
  }
}

function watchControls() {
  document.querySelector(".tools").addEventListener("click", onHeadClick, true);
  byId("undo").addEventListener("click", takeBack);
  byId("export").addEventListener("click", exportDecisions);
  byId("file").addEventListener("change", loadFiles);
  byId("grid").addEventListener("click", () => setGrid(!isGrid));
  byId("reviewer").addEventListener("change", () => remember(REVIEWER, reviewer()));
  byId("selection").addEventListener("click", (event) => {
    const { all } = event.target.closest("button")?.dataset || {};
    if (all === "clear") clearSelection();
    else if (all) actOnAll(all);
  });
  feed.addEventListener("click", onRowClick);
  detail.addEventListener("click", onRowClick);
  feed.addEventListener("focusin", (event) => {
    const row = event.target.closest(".row");
    current = items.indexOf(Number(row.dataset.item));
    draw();
  });
  addEventListener("storage", (event) => {
    if (event.key !== STORE) return; // decided in another tab
    const item = items[current];
    restore();
    refresh(current);
    if (items.includes(item)) refresh(items.indexOf(item));
  });
}
