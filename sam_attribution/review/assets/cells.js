// What a row is: its image, text or columns.

const CONTENT = {
  image(box, item) {
    const canvas = canvasFor(item);
    box.append(canvas);
    const ready = drawImage(canvas, item).catch(warnOfImages);
    showWhole(canvas);
    return ready;
  },
  text(box, item) {
    const text = element("p", "text", visible(DATA.content.texts[item]));
    text.dir = "auto";
    box.append(text);
  },
  table(box, item) {
    const list = element("dl", "cells");
    for (const { name, value, isUnusual } of cellsFor(item)) {
      const cell = element("div", isUnusual ? "is-unusual" : "");
      const [term, content] = [element("dt", "", name), element("dd", "", value)];
      term.dir = content.dir = "auto";
      cell.append(term, content);
      cell.title = `${name}: ${value}${isUnusual ? " (unusual)" : ""}`;
      list.append(cell);
    }
    box.append(list);
  },
};

// Of an item, in the order in which they are shown.
function cellsFor(item) {
  const { columns, cells } = DATA.content;
  return cells.map((values, k) => {
    const place = item * cells.length + k;
    return {
      name: onOneLine(columns[CELLS.which ? CELLS.which[place] : k]),
      value: onOneLine(values[item]),
      isUnusual: CELLS.unusual[place] === 1,
    };
  });
}
