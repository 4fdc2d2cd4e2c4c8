// Labels that a reviewer adds to those of the page.

const ARE_TEXTS = TOKENS.every((token) => token.startsWith('"'));
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?$/;

// What Python's label_token writes.
const escaped = (part) => part.replace(/[^]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

const tokenOfText = (text) => JSON.stringify(text).replace(/(?! )[\p{C}\p{Z}]/gu, escaped);

// A number stays one where labels are numbers.
const tokenOf = (text) => (!ARE_TEXTS && NUMBER.test(text) ? text : tokenOfText(text));

// The code of a token, which becomes a label of the page if it is none.
function addLabel(token) {
  if (CODES.has(token)) return CODES.get(token);
  const text = onOneLine(String(JSON.parse(token)));
  CODES.set(token, TOKENS.length);
  TOKENS.push(token);
  TEXTS.push(TEXTS.includes(text) ? `${text} (${token})` : text);
  return CODES.get(token);
}

// The code of a label that a file writes as a token and the page does not know; or undefined.
function addedBy(text) {
  if (!text.startsWith('"') && (ARE_TEXTS || !NUMBER.test(text))) return undefined;
  try {
    return addLabel(text);
  } catch {
    return undefined; // no JSON
  }
}
