// One row on the whole screen: its image in real size, all of its text or columns.

const detail = byId("detail");
let isOtherSize = false; // of the image: see timesOf
let enlarged = 0; // position in items: closing gives the focus back to where it was before

const isEnlarged = () => detail.open;

function openDetail(item) {
  if (!detail.open) detail.showModal();
  goTo(items.indexOf(item));
  showDetail();
}

// The current row; closed if there is none.
function showDetail() {
  if (!detail.open) return;
  enlarged = current;
  const item = items[current];
  const wasGrid = isGrid;
  isGrid = false; // with bars and buttons
  const row = makeRow(item);
  isGrid = wasGrid;
  row.classList.add("is-enlarged");
  row.removeAttribute("tabindex");
  say(row.querySelector(".number"), nameOf(item));
  if (DATA.content.kind === "image") {
    const canvas = canvasFor(item);
    row.querySelector(".content").replaceChildren(canvas);
    row.ready = drawLargeImage(canvas, item).then(showSize, warnOfImages);
  }
  const action = document.activeElement?.dataset.do;
  byId("detail-row").replaceChildren(row);
  if (action) row.querySelector(`[data-do=${action}]`).focus();
}

// How many times larger the image is shown at first, and otherwise. Small images fill the room with
// whole pixels, or have their size; others have their size as far as there is room, or else fill it.
function timesOf(canvas, box) {
  const roomHeight = parseFloat(getComputedStyle(box).maxHeight);
  const fit = Math.min(box.clientWidth / canvas.width, roomHeight / canvas.height);
  if (canvas.classList.contains("is-smooth")) return [Math.min(1, fit), Math.max(1, fit)];
  return [Math.max(1, Math.floor(fit)), 1];
}

function showSize() {
  const canvas = detail.querySelector("canvas");
  if (!canvas) return;
  const box = canvas.parentElement;
  canvas.style.width = 0;
  const [first, other] = timesOf(canvas, box);
  const [times, next] = isOtherSize ? [other, first] : [first, other];
  canvas.style.width = `${times * canvas.width}px`;
  const [width, height] = sizeOf(items[current]);
  const held = Math.min(1, Math.max(canvas.width, canvas.height) / Math.max(width, height));
  byId("detail-size").textContent = `${width} x ${height} pixels, shown at ${numberText(Math.round(100 * held * times))} %`;
  byId("detail-other").hidden = Math.abs(next / times - 1) < 0.02;
  byId("detail-other").firstElementChild.textContent = next > times ? "Larger" : "Smaller";
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
}

function switchSize() {
  isOtherSize = !isOtherSize;
  showSize();
}

function watchDetail() {
  byId("detail-other").addEventListener("click", switchSize);
  addEventListener("resize", showSize);
  byId("detail-close").addEventListener("click", () => detail.close());
  detail.addEventListener("close", () => {
    byId("detail-row").replaceChildren();
    goTo(enlarged);
  });
}
