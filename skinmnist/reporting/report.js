// The leaderboard sorts by a click on a heading. Without this script the page loses nothing else.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => {
    if (column === 0) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const falling = heading.getAttribute("aria-sort") !== "descending";
      const key = (row) => {
        const value = Number.parseFloat(row.cells[column].dataset.value);
        return Number.isNaN(value) ? Infinity : falling ? -value : value;
      };
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      body.append(...[...body.rows].sort((a, b) => key(a) - key(b) || 0));
    });
  });
}
