// Pixels of the images: sheets of deflated residuals, see _codec.py.

const SHEETS_KEPT = 24;
const sheets = new Map(); // number -> promise of RGBA bytes, least recently used first

function sheet(number) {
  const pixels = sheets.get(number) || unpackedSheet(byId(`sheet-${number}`).textContent);
  sheets.delete(number);
  sheets.set(number, pixels);
  if (sheets.size > SHEETS_KEPT) sheets.delete(sheets.keys().next().value);
  return pixels;
}

async function unpackedSheet(base64, { height, width, channels } = DATA.content) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let start = 0; start < planes.length; start += height * width) {
    addGuesses(planes.subarray(start, start + height * width), width);
  }
  return rgbaOf(planes, height * width, channels);
}

// Turns one plane of residuals into values, in place.
function addGuesses(plane, width) {
  for (let k = 1; k < width; k++) plane[k] += plane[k - 1];
  for (let k = width; k < plane.length; k++) {
    const above = plane[k - width];
    if (k % width === 0) {
      plane[k] += above;
      continue;
    }
    const left = plane[k - 1];
    const guess = left + above - plane[k - width - 1];
    const low = left < above ? left : above;
    const high = left < above ? above : left;
    plane[k] += guess < low ? low : guess > high ? high : guess;
  }
}

function rgbaOf(planes, size, channels) {
  const rgba = new Uint8ClampedArray((planes.length / channels) * 4);
  for (let start = 0, to = 0; start < planes.length; start += size * channels) {
    for (let k = start; k < start + size; k++, to += 4) {
      const green = channels === 1 ? 0 : planes[k + size];
      rgba[to] = (planes[k] + green) & 255;
      rgba[to + 1] = channels === 1 ? planes[k] : green;
      rgba[to + 2] = channels === 1 ? planes[k] : (planes[k + 2 * size] + green) & 255;
      rgba[to + 3] = channels === 4 ? planes[k + 3 * size] : 255;
    }
  }
  return rgba;
}
