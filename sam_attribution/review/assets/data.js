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
const CELLS = DATA.content.kind === "table" && {
  which: DATA.content.which && unpacked(Int32Array, DATA.content.which),
  unusual: unpacked(Uint8Array, DATA.content.unusual),
};
const N = ROWS.length;
const SIZES = DATA.content.sizes && unpacked(Int32Array, DATA.content.sizes); // width, height
const PLACES = unpacked(Int32Array, DATA.places); // in the order of suspicion, from 1
const TEXTS = DATA.labels.texts.map(onOneLine);
const TOKENS = DATA.labels.tokens;
const CODES = new Map(TOKENS.map((token, code) => [token, code]));
const ITEMS = new Map(Array.from(ROWS, (row, item) => [row, item]));
const IDS = new Map((DATA.ids || []).map((token, item) => [token, item]));

const isJudged = (item) => !Number.isNaN(SCORES[item]);

const isSuspicious = (item) => SUSPICIOUS !== null && SUSPICIOUS[item] === 1;
