// The note about a row. What was typed and not saved stays as a draft.

const noteDialog = byId("note");
const drafts = new Map(); // item -> text
let notedItem = null;

const noteOf = (item) => decisions.get(item)?.note || "";

function openNote(item) {
  notedItem = item;
  byId("note-title").textContent = `Note on ${nameOf(item)}`;
  byId("note-undecided").hidden = decisions.has(item);
  byId("note-text").value = drafts.get(item) ?? noteOf(item);
  noteDialog.showModal();
}

const typedNote = () => byId("note-text").value.trim();

function saveNote() {
  const note = typedNote();
  const decided = decisions.get(notedItem);
  if (note || decided) decide([[notedItem, { ...(decided || made("unsure", null)), note }]]);
  closeNote();
}

// After saving, the text is the note; after Cancel or Escape, it is a draft unless it is the note.
function closeNote() {
  if (notedItem === null) return;
  const item = notedItem;
  const isDraft = typedNote() && typedNote() !== noteOf(item);
  if (isDraft) drafts.set(item, typedNote());
  else drafts.delete(item);
  notedItem = null;
  save();
  noteDialog.close();
  refresh(current);
  goTo(current);
  if (isDraft) announce(`The note on ${nameOf(item)} is not saved. Its text is kept: n shows it again.`);
}

function noteText(item) {
  if (drafts.has(item)) return `Note, not saved: ${visible(drafts.get(item))}`;
  return noteOf(item) ? `Note: ${visible(noteOf(item))}` : "";
}

function watchNotes() {
  byId("note-cancel").addEventListener("click", closeNote);
  noteDialog.addEventListener("cancel", closeNote);
  noteDialog.addEventListener("close", closeNote); // where the browser sends no cancel
  noteDialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    saveNote();
  });
  noteDialog.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault(); // the key would press the button that gets the focus next
    saveNote();
  });
}
