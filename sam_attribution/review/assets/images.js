// The image of an item on a canvas: small in the list, as large as the page has it to enlarge.

let room = 0; // pixels of a side in the list

function canvasFor(item) {
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Image of ${nameOf(item)}`);
  return canvas;
}

function fill(canvas, pixels, { width, height }) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

// A whole number of times larger, so that pixels stay squares.
function showWhole(canvas) {
  const times = Math.max(1, Math.floor(room / Math.max(canvas.width, canvas.height)));
  canvas.style.width = `${times * canvas.width}px`;
  canvas.classList.toggle("is-smooth", times === 1);
}

// Width and height as it came: one for all images, or one each.
const sizeOf = (item) => (SIZES.length > 2 ? SIZES.subarray(2 * item, 2 * item + 2) : SIZES);

// Resolves once the small image is drawn.
async function drawImage(canvas, item) {
  const { height, width, per_sheet: perSheet } = DATA.content;
  canvas.width = width;
  canvas.height = height;
  const size = height * width * 4;
  const pixels = await sheet(Math.floor(item / perSheet));
  const start = (item % perSheet) * size;
  fill(canvas, pixels.slice(start, start + size), DATA.content);
}

async function drawLargeImage(canvas, item) {
  const packed = item < DATA.content.n_large ? byId(`large-${item}`).textContent : "";
  if (!packed) return drawImage(canvas, item);
  canvas.classList.add("is-smooth");
  const shape = DATA.content.large_shape;
  if (shape) {
    const pixels = await unpackedSheet(packed, { channels: DATA.content.channels, ...shape });
    return fill(canvas, pixels, shape);
  }
  const picture = await createImageBitmap(new Blob([bytesOf(packed)], { type: "image/jpeg" }));
  canvas.width = picture.width;
  canvas.height = picture.height;
  return canvas.getContext("2d").drawImage(picture, 0, 0);
}

function warnOfImages() {
  warn("This browser is too old to show the images. Use a newer one.");
}
