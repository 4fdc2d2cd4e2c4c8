// Start: restore what was decided, draw, listen.

function foldFilters() {
  const narrow = matchMedia("(max-width: 43.75em), (max-height: 30em)");
  const fold = () => {
    byId("filters").open = !narrow.matches;
  };
  narrow.addEventListener("change", fold);
  fold();
}

const firstUndecided = () => Math.max(0, items.findIndex((item) => !decisions.has(item)));

document.body.dataset.kind = DATA.content.kind;
document.body.classList.toggle("has-parts", PARTS.length > 0);
document.body.classList.toggle("has-fits", FITS !== null);
foldFilters();
restore();
mergeEarlier();
fillFilters();
measure();
refresh(0);
watchList();
watchDialogs();
watchDetail();
watchFilters();
watchSearch();
watchNotes();
watchKeys();
watchControls();
goTo(firstUndecided());
scrollTo(0, 0);
Promise.all(Array.from(drawn.values(), (row) => row.ready)).then(() => {
  requestAnimationFrame(() => performance.mark("ready"));
});
