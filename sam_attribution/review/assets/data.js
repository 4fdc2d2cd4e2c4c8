// What Python wrote into the page. Items are numbered in order of suspicion, 0 first.

const DATA = JSON.parse(document.getElementById("data").textContent);

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  return bytes;
}

const unpacked = (ArrayType, base64) => new ArrayType(bytesOf(base64).buffer);

const ROWS = unpacked(Int32Array, DATA.rows);
const GIVEN = unpacked(Int32Array, DATA.given);
const SUGGESTED = unpacked(Int32Array, DATA.suggested);
const SCORES = unpacked(Float32Array, DATA.scores);
const SUSPICIOUS = DATA.suspicious && unpacked(Uint8Array, DATA.suspicious);
const WRONG = DATA.wrong && unpacked(Float32Array, DATA.wrong);
const PARTS = DATA.parts.map(({ name, ranks }) => ({ name, ranks: unpacked(Int32Array, ranks) }));
const FITS = DATA.fits && {
  codes: unpacked(Int32Array, DATA.fits.codes),
  values: unpacked(Float32Array, DATA.fits.values),
  lowest: unpacked(Float32Array, DATA.fits.lowest),
  areProbabilities: DATA.fits.are_probabilities,
};
const N = ROWS.length;
const TEXTS = DATA.labels.texts;
const TOKENS = DATA.labels.tokens;
const CODES = new Map(TOKENS.map((token, code) => [token, code]));
const ITEMS = new Map(Array.from(ROWS, (row, item) => [row, item]));

const IDS = new Map((DATA.ids || []).map((token, item) => [token, item]));

const isJudged = (item) => !Number.isNaN(SCORES[item]);

const isSuspicious = (item) => SUSPICIOUS !== null && SUSPICIOUS[item] === 1;

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}\u00a0%`;

const byId = (id) => document.getElementById(id);

const numberText = (n) => n.toLocaleString("en");

const counted = (n, noun) => `${numberText(n)} ${noun}${n === 1 ? "" : "s"}`;

function warn(text) {
  byId("warning").textContent = text;
  byId("warning").hidden = false;
}

// An element with text; data never go through an HTML parser.
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
