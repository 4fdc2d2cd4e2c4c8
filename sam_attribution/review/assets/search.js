// The search, and the way back to the row where it began.

let beforeSearch = { item: 0, position: 0 };

const searchBox = byId("search");

function search() {
  if (!filter.search) beforeSearch = { item: items[current], position: current };
  readFilters();
  if (!filter.search) backFromSearch();
}

function endSearch() {
  if (!filter.search) return;
  searchBox.value = "";
  search();
}

// A row that has been decided since then may no longer be shown.
function backFromSearch() {
  const { item, position } = beforeSearch;
  goTo(items.includes(item) ? items.indexOf(item) : position, { focus: false });
}

function watchSearch() {
  searchBox.addEventListener("input", search);
  searchBox.addEventListener("keydown", (event) => {
    if (!["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault(); // Escape would empty the box alone, Enter press what gets the focus
    if (event.key === "Enter") goTo(0);
  });
}
