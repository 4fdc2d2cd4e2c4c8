// What keys and buttons do to one row, or to the selected ones with one undo.

function refresh(at) {
  for (const [item, row] of drawn) showDecision(row, item);
  setItems(itemsFor(filter), at);
  showProgress();
}

function showProgress() {
  const nSuspicious = SUSPICIOUS ? SUSPICIOUS.reduce((a, b) => a + b, 0) : 0;
  let done = 0;
  for (const item of decisions.keys()) done += isSuspicious(item) ? 1 : 0;
  const [part, whole, what] = nSuspicious
    ? [done, nSuspicious, "suspicious rows"]
    : [decisions.size, N, "rows"];
  const others = nSuspicious && decisions.size > done ? ` and ${counted(decisions.size - done, "other")}` : "";
  byId("counter").textContent =
    `${numberText(part)} of ${numberText(whole)} ${what}${others} decided${unsureText()}`;
  showNotes();
  byId("progress").max = whole;
  byId("progress").value = part;
  byId("export").disabled = decisions.size === 0;
  byId("show-undecided").hidden = decisions.size === N;
  byId("show-undecided").textContent = `Show the ${counted(N - decisions.size, "undecided row")}`;
  byId("undo").disabled = undoable.length === 0;
}

function unsureText() {
  const n = Array.from(decisions.keys()).filter((item) => isIn(item, "unsure")).length;
  return n ? ` (${numberText(n)} not sure)` : "";
}

function showNotes() {
  const only = N < DATA.n_samples ? ` of ${numberText(DATA.n_samples)} in all` : "";
  const more = elsewhere.length ? ` ${counted(elsewhere.length, "decision")} about rows that are not on this page.` : "";
  byId("notes").textContent =
    `${numberText(items.length)} shown of ${numberText(N)} rows${only}. ${visible(DATA.note)}${more}`;
}

// The decision that an action means for a row; undefined if it means none.
function decisionBy(action, item) {
  if (action === "keep") return made("keep", GIVEN[item]);
  if (action === "remove" || action === "unsure") return made(action, null);
  return GIVEN[item] === SUGGESTED[item] ? undefined : made("relabel", SUGGESTED[item]);
}

function act(action, item) {
  if (action === "other") openChoice([item], (code) => settle(item, labelled(item, code)));
  else if (action === "note") openNote(item);
  else if (action === "enlarge") openDetail(item);
  else if (action === "theirs") settle(item, { ...decisions.get(item).other, note: undefined });
  else if (action === "mine") settle(item, { ...decisions.get(item), other: undefined });
  else if (decisionBy(action, item)) settle(item, decisionBy(action, item));
  else announce(`${nameOf(item)}: the suggested label is the given one. Choose another with c.`);
}

const labelled = (item, code) => (code === GIVEN[item] ? made("keep", code) : made("relabel", code));

// Decides about a row, shows it, and goes on to the next.
function settle(item, decision) {
  const position = items.indexOf(item);
  decide([[item, decision]]);
  refresh(STATES[filter.state].fits(item) ? position + 1 : position);
  goTo(current);
  announce(`${nameOf(item)}: ${decisionText(item)}.`);
}

// For the selected rows.
function actOnAll(action) {
  const chosen = [...selected];
  if (action === "other") return openChoice(chosen, (code) => settleAll(chosen.map((item) => [item, labelled(item, code)])));
  return settleAll(chosen.map((item) => [item, decisionBy(action, item)]));
}

const selectedBefore = new WeakMap(); // step that can be undone -> the rows that were selected

function settleAll(changes) {
  const decided = changes.filter(([, decision]) => decision);
  const left = changes.length - decided.length;
  const nAnew = nDecidedOf(decided.map(([item]) => item));
  if (decided.length) {
    decide(decided);
    selectedBefore.set(undoable.at(-1), changes.map(([item]) => item));
  }
  clearSelection();
  refresh(current);
  goTo(current);
  const anew = nAnew ? `, ${numberText(nAnew)} of them anew` : "";
  const why = left ? ` ${counted(left, "row")} left as before: the suggested label is the given one.` : "";
  announce(`${counted(decided.length, "row")} decided${anew}.${why} Undo (u) takes all of it back.`);
}

// The pressed button of a decided row makes it undecided again.
function clear(item) {
  const position = items.indexOf(item);
  decide([[item, undefined]]);
  refresh(position);
  goTo(position);
  announce(`${nameOf(item)}: ${decisionText(item)}.`);
}

function takeBack() {
  const chosen = new Set(selectedBefore.get(undoable.at(-1)));
  const changed = undo();
  refresh(current);
  if (chosen.size) select(items.filter((item) => chosen.has(item)), true);
  if (!changed.length) return announce("Nothing to undo.");
  const position = items.indexOf(changed[0]);
  goTo(position < 0 ? current : position);
  if (changed.length === 1) return announce(`${nameOf(changed[0])}: ${decisionText(changed[0])}.`);
  const again = chosen.size ? " The rows are selected again." : "";
  return announce(`Took back ${counted(changed.length, "decision")}.${again}`);
}
