// One row on the whole screen: its image in real size, all of its text or columns.

const detail = byId("detail");
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
  if (DATA.content.kind === "image") {
    const canvas = canvasFor(item);
    row.querySelector(".content").replaceChildren(canvas);
    row.ready = drawLargeImage(canvas, item).catch(warnOfImages);
  }
  const action = document.activeElement?.dataset.do;
  byId("detail-row").replaceChildren(row);
  if (action) row.querySelector(`[data-do=${action}]`).focus();
}

function watchDetail() {
  byId("detail-close").addEventListener("click", () => detail.close());
  detail.addEventListener("close", () => {
    byId("detail-row").replaceChildren();
    goTo(enlarged);
  });
}
