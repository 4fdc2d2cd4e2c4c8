// One row as elements.

const LONGEST_ID = 24; // letters in the list
const rowTemplate = byId("row").content.firstElementChild;

function makeRow(item) {
  const row = rowTemplate.cloneNode(true);
  const part = (selector) => row.querySelector(selector);
  row.dataset.item = item;
  row.classList.toggle("is-suspicious", isSuspicious(item));
  say(part(".number"), shortNameOf(item)).title = nameOf(item);
  say(part(".badge"), badgeOf(item));
  part(".badge").title = isJudged(item) ? `score ${SCORES[item].toPrecision(3)}` : "";
  say(part(".given b"), TEXTS[GIVEN[item]]);
  fillSuggestion(row, item);
  say(part(".description"), DATA.descriptions ? visible(DATA.descriptions[item]) : "");
  if (!isGrid) {
    fillParts(part(".parts"), item);
    fillFits(part(".fits"), item);
  }
  part(".pick input").setAttribute("aria-label", `Select ${nameOf(item)}`);
  row.ready = CONTENT[DATA.content.kind](part(".content"), item);
  showDecision(row, item);
  return row;
}

function nameOf(item) {
  return `row ${ROWS[item]}${DATA.index ? ` (${onOneLine(DATA.index[item])})` : ""}`;
}

// The end of a long id tells it from others: of a path, the name of the file.
function shortNameOf(item) {
  const letters = DATA.index ? Array.from(onOneLine(DATA.index[item])) : [];
  if (letters.length <= LONGEST_ID) return nameOf(item);
  return `row ${ROWS[item]} (…${letters.slice(1 - LONGEST_ID).join("")})`;
}

function badgeOf(item) {
  if (!isJudged(item)) return "not judged";
  const isProbable = WRONG && !Number.isNaN(WRONG[item]);
  if (isGrid && isProbable) return `${percent(WRONG[item])} likely wrong`;
  const place = `${isSuspicious(item) ? "suspicious " : ""}#${numberText(PLACES[item])}`;
  return isProbable ? `${place}, ${percent(WRONG[item])} likely wrong` : place;
}

function fillSuggestion(row, item) {
  const agrees = GIVEN[item] === SUGGESTED[item];
  row.classList.toggle("agrees", agrees);
  say(row.querySelector(".suggested b"), agrees ? "the same" : TEXTS[SUGGESTED[item]]);
  row.querySelector(".share").textContent = agrees ? "" : probabilityText(item, SUGGESTED[item]);
  const button = row.querySelector("[data-do=suggested]");
  say(button.querySelector("span"), agrees ? "Nothing to change" : `Change to ${TEXTS[SUGGESTED[item]]}`);
  button.disabled = agrees;
}

// Codes of the labels that fit an item best, best first, with their places in FITS.
function bestFits(item) {
  if (!FITS) return [];
  const width = FITS.codes.length / N;
  const places = Array.from({ length: width }, (_, k) => item * width + k);
  return places.filter((place) => FITS.codes[place] >= 0).map((place) => [FITS.codes[place], place]);
}

// How probable a label is, where the page has that.
function probabilityText(item, label) {
  const found = bestFits(item).find(([code]) => code === label);
  return found && FITS.areProbabilities ? percent(FITS.values[found[1]]) : "";
}

function bar(share, text, value, className) {
  const line = element("div", `bar ${className || ""}`);
  const track = element("span", "track");
  const fill = element("span", "fill");
  fill.style.transform = `scaleX(${Math.max(0, Math.min(1, share))})`;
  track.append(fill);
  const name = element("span", "name", text);
  name.dir = "auto";
  line.append(name, track, element("span", "value", value));
  line.title = `${text}: ${value}`;
  return line;
}

function fillParts(box, item) {
  if (!PARTS.length) return;
  const caption = box.firstElementChild;
  caption.append("why suspicious", element("span", "wide", ` (rank of ${numberText(DATA.n_samples)})`));
  if (signalsDisagree(item)) {
    const note = element("p", "disagree", "The signals disagree");
    note.title = disagreementText(item);
    box.append(note);
  }
  const last = Math.max(2, DATA.n_samples);
  for (const { name, ranks } of PARTS) {
    const rank = ranks[item];
    const share = rank ? 1 - (rank - 1) / (last - 1) : 0;
    box.append(bar(share, name, rank ? `#${numberText(rank)}` : "–"));
  }
}

function fillFits(box, item) {
  if (!FITS) return;
  box.firstElementChild.textContent = FITS.areProbabilities ? "most likely labels" : "labels that fit best";
  const best = bestFits(item);
  for (const [code, place] of best) {
    const value = FITS.values[place];
    const range = FITS.values[best[0][1]] - FITS.lowest[item] || 1;
    const share = FITS.areProbabilities ? value : (value - FITS.lowest[item]) / range;
    const text = FITS.areProbabilities ? percent(value) : value.toPrecision(3);
    const isGiven = code === GIVEN[item];
    box.append(bar(share, TEXTS[code] + (isGiven ? " (given)" : ""), text, isGiven ? "is-given" : ""));
  }
}

// A decision, who made it, and what is said about it.
function showDecision(row, item) {
  const decided = decisions.get(item);
  row.dataset.decision = decided ? decided.decision : "";
  const isOther = decided?.decision === "relabel" && decided.label !== SUGGESTED[item];
  const pressed = {
    keep: decided?.decision === "keep",
    suggested: decided?.decision === "relabel" && !isOther,
    other: isOther,
    remove: decided?.decision === "remove",
    unsure: decided?.decision === "unsure",
  };
  for (const button of row.querySelectorAll(".actions [aria-pressed]")) {
    button.setAttribute("aria-pressed", String(Boolean(pressed[button.dataset.do])));
  }
  say(row.querySelector("[data-do=other] span"), isOther ? `Changed to ${TEXTS[decided.label]}` : "Other label…");
  say(row.querySelector(".decided"), decided ? bylineOf(item, decided) : "");
  say(row.querySelector(".note"), noteText(item));
  row.querySelector(".conflict").hidden = !decided?.other;
  say(row.querySelector(".conflict span"), decided?.other ? conflictText(item) : "");
  row.setAttribute("aria-label", `${nameOf(item)}, ${badgeOf(item)}, given ${TEXTS[GIVEN[item]]}, ` +
    `suggested ${TEXTS[SUGGESTED[item]]}, ${decisionText(item)}`);
}

function bylineOf(item, decided) {
  const when = decided.at ? new Date(decided.at) : NaN;
  const day = Number.isNaN(Number(when)) ? "" : when.toLocaleDateString();
  return [wordsOf(item, decided), onOneLine(decided.by), day].filter(Boolean).join(", ");
}
