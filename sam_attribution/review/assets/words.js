// How numbers and texts are written, and elements that hold them.

const byId = (id) => document.getElementById(id);

const numberText = (n) => n.toLocaleString("en");

const counted = (n, noun) => `${numberText(n)} ${noun}${n === 1 ? "" : "s"}`;

// A probability in whole percent: an estimate is never certain.
function percent(share) {
  if (share > 0.99) return ">\u00a099\u00a0%";
  if (share < 0.01) return "<\u00a01\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
}

// Characters without a picture, or that reorder the text around them.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u2028-\u202e\u2066-\u2069\ufeff]/g;

function pictureOf(character) {
  const code = character.codePointAt(0);
  if (code < 32) return String.fromCodePoint(0x2400 + code);
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

const visible = (text) => text.replace(/\r\n/g, "\n").replace(UNSEEN, pictureOf);

const onOneLine = (text) => text.replace(UNSEEN, pictureOf).replace(/[\t\n]/g, pictureOf);

// An element with text; data never go through an HTML parser.
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Text of the data: it has its own direction, and all of it is in the title if it is cut.
function say(node, text) {
  node.textContent = text;
  node.dir = "auto";
  node.title = text;
  return node;
}

function warn(text) {
  byId("warning").textContent = text;
  byId("warning").hidden = false;
}

const announce = (text) => {
  byId("status").textContent = text;
};
