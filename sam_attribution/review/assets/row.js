// One row as elements.

const rowTemplate = byId("row").content.firstElementChild;

function makeRow(item) {
  const row = rowTemplate.cloneNode(true);
  row.dataset.item = item;
  row.classList.toggle("is-suspicious", isSuspicious(item));
  row.querySelector(".number").textContent = nameOf(item);
  row.querySelector(".badge").textContent = badgeOf(item);
  row.querySelector(".badge").title = isJudged(item) ? `score ${SCORES[item].toPrecision(3)}` : "";
  row.querySelector(".given b").textContent = TEXTS[GIVEN[item]];
  fillSuggestion(row, item);
  row.querySelector(".description").textContent = DATA.descriptions ? DATA.descriptions[item] : "";
  fillParts(row.querySelector(".parts"), item);
  fillFits(row.querySelector(".fits"), item);
  row.ready = CONTENT[DATA.content.kind](row.querySelector(".content"), item);
  showDecision(row, item);
  return row;
}

function nameOf(item) {
  return `row ${ROWS[item]}${DATA.index ? ` (${DATA.index[item]})` : ""}`;
}

function badgeOf(item) {
  if (!isJudged(item)) return "not judged";
  const rank = `${isSuspicious(item) ? "suspicious" : "suspicion"} #${numberText(item + 1)}`;
  return WRONG && !Number.isNaN(WRONG[item]) ? `${rank}, wrong:\u00a0${percent(WRONG[item])}` : rank;
}

function fillSuggestion(row, item) {
  const agrees = GIVEN[item] === SUGGESTED[item];
  row.classList.toggle("agrees", agrees);
  row.querySelector(".suggested b").textContent = agrees ? "the same" : TEXTS[SUGGESTED[item]];
  const button = row.querySelector("[data-do=suggested]");
  button.querySelector("span").textContent = agrees ? "Nothing to change" : `Change to ${TEXTS[SUGGESTED[item]]}`;
  button.disabled = agrees;
}

// Codes of the labels that fit an item best, best first, with their places in FITS.
function bestFits(item) {
  if (!FITS) return [];
  const width = FITS.codes.length / N;
  const places = Array.from({ length: width }, (_, k) => item * width + k);
  return places.filter((place) => FITS.codes[place] >= 0).map((place) => [FITS.codes[place], place]);
}

function bar(share, text, value, className) {
  const line = element("div", `bar ${className || ""}`);
  const track = element("span", "track");
  const fill = element("span", "fill");
  fill.style.transform = `scaleX(${Math.max(0, Math.min(1, share))})`;
  track.append(fill);
  line.append(element("span", "name", text), track, element("span", "value", value));
  line.title = `${text}: ${value}`;
  return line;
}

function fillParts(box, item) {
  box.firstElementChild.append("why suspicious", element("span", "wide", ` (rank of ${numberText(DATA.n_samples)})`));
  const last = Math.max(2, DATA.n_samples);
  for (const { name, ranks } of PARTS) {
    const rank = ranks[item];
    const share = rank ? 1 - (rank - 1) / (last - 1) : 0;
    box.append(bar(share, name, rank ? `#${numberText(rank)}` : "–"));
  }
}

function fillFits(box, item) {
  if (!FITS) return;
  box.firstElementChild.textContent = FITS.areProbabilities ? "probability" : "fits as";
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

const CONTENT = {
  image(box, item) {
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Image of ${nameOf(item)}`);
    box.append(canvas);
    return drawImage(canvas, item).catch(() => {
      warn("This browser is too old to show the images. Use a newer one.");
    });
  },
  text(box, item) {
    box.append(element("p", "text", DATA.content.texts[item]));
  },
  table(box, item) {
    const list = element("dl", "cells");
    DATA.content.columns.forEach((name, k) => {
      const cell = element("div");
      cell.append(element("dt", "", name), element("dd", "", DATA.content.cells[k][item]));
      cell.title = `${name}: ${DATA.content.cells[k][item]}`;
      list.append(cell);
    });
    box.append(list);
  },
};

function showDecision(row, item) {
  const decided = decisions.get(item);
  row.dataset.decision = decided ? decided.decision : "";
  const isOther = decided?.decision === "relabel" && decided.label !== SUGGESTED[item];
  const pressed = {
    keep: decided?.decision === "keep",
    suggested: decided?.decision === "relabel" && !isOther,
    other: isOther,
    remove: decided?.decision === "remove",
  };
  for (const button of row.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Boolean(pressed[button.dataset.do])));
  }
  row.querySelector("[data-do=other] span").textContent = isOther ? `Changed to ${TEXTS[decided.label]}` : "Other label…";
  row.setAttribute("aria-label", `${nameOf(item)}, ${badgeOf(item)}, given ${TEXTS[GIVEN[item]]}, ` +
    `suggested ${TEXTS[SUGGESTED[item]]}, ${decisionText(item)}`);
}
