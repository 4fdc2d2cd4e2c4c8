// What the theme and the gallery leave out for people who use a keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll(".caption[role=heading]")) {
    caption.setAttribute("aria-level", "2");
  }
  for (const scrolls of document.querySelectorAll("pre, .table-wrapper")) {
    scrolls.tabIndex = 0;
  }
  for (const card of document.querySelectorAll(".sphx-glr-thumbcontainer")) {
    const link = card.querySelector("a.reference");
    link?.setAttribute("aria-label", link.textContent);
  }
  for (const citation of document.querySelectorAll(".citation-list > .citation")) {
    citation.setAttribute("role", "listitem");
  }
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Pages");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
});
