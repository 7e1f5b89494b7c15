// Tables sort, are copied, and say what is wider than the screen. Without this script they are plain tables.
const status = document.createElement("p");
status.className = "hidden";
status.setAttribute("role", "status");
document.body.append(status);

const button = (words, label, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", () => act(made));
  return made;
};

// Cells of the heading by column; of two rows of headings the lower one.
const headingsOf = (table) => {
  const rows = [...table.tHead.rows];
  const taken = rows.map(() => []);
  rows.forEach((row, y) => {
    let x = 0;
    for (const cell of row.cells) {
      while (taken[y][x]) x += 1;
      for (let below = 0; below < cell.rowSpan; below += 1) {
        for (let right = 0; right < cell.colSpan; right += 1) taken[y + below][x + right] = cell;
      }
      x += cell.colSpan;
    }
  });
  return taken.at(-1);
};

const textOf = (cell) => {
  const copy = cell.cloneNode(true);
  if (cell.tagName === "TD") copy.querySelectorAll("small, .hidden").forEach((part) => part.remove());
  return copy.textContent.replace(/\s+/g, " ").trim();
};
const numberOf = (cell) => {
  if (cell.dataset.value !== undefined) return Number.parseFloat(cell.dataset.value);
  const found = textOf(cell).replace(/−/g, "-").replace(/[▲▼+,]/g, "").match(/^\s*<?\s*(-?\d+(\.\d+)?)/);
  return found ? Number.parseFloat(found[1]) : NaN;
};

const makeSortable = (table) => {
  const headings = headingsOf(table);
  headings.forEach((heading, column) => {
    const name = heading.textContent.trim();
    const cells = [...table.tBodies].flatMap((body) => [...body.rows].map((row) => row.cells[column])).filter(Boolean);
    const numeric = cells.some((cell) => cell.tagName === "TD") && cells.filter((cell) => !Number.isNaN(numberOf(cell))).length * 2 > cells.length;
    const sorter = button("", `${name}: sort`, () => {
      const before = heading.getAttribute("aria-sort");
      const falling = before === "none" ? numeric : before === "ascending";
      const sign = falling ? -1 : 1;
      const compare = (a, b) => {
        if (!numeric) return sign * textOf(a.cells[column]).localeCompare(textOf(b.cells[column]), "en", { numeric: true });
        const [x, y] = [numberOf(a.cells[column]), numberOf(b.cells[column])];
        return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y);
      };
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      for (const body of table.tBodies) body.append(...[...body.rows].sort(compare));
      status.textContent = `Sorted by ${name}, ${falling ? "descending" : "ascending"}.`;
    });
    sorter.removeAttribute("aria-label");
    sorter.className = "sort";
    sorter.append(...heading.childNodes);
    heading.append(sorter);
    heading.setAttribute("aria-sort", "none");
  });
};

// A page of a file may not reach the clipboard: then the text is selected and copied the old way.
const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
};
const copier = (format, what, text) =>
  button(format, `Copy ${what} as ${format}`, async (made) => {
    const copied = await copy(text);
    status.textContent = copied ? `Copied ${what} as ${format}.` : "This browser does not let a page copy.";
    made.textContent = copied ? "Copied" : "Not copied";
    setTimeout(() => { made.textContent = format; }, 1500);
  });
const bar = (words, buttons) => {
  const line = document.createElement("p");
  line.className = "take";
  line.append(words, ...buttons);
  return line;
};

// The names of the columns that do not fit, above the table; it changes with the width of the page.
const sayWhatIsWider = (table, scroll) => {
  const line = document.createElement("p");
  line.className = "wider";
  line.hidden = true;
  scroll.before(line);
  new ResizeObserver(() => {
    const edge = scroll.getBoundingClientRect().left + scroll.clientWidth + scroll.scrollLeft;
    const beyond = headingsOf(table).filter((heading) => heading.getBoundingClientRect().right + scroll.scrollLeft > edge + 1);
    line.hidden = beyond.length === 0 || scroll.clientWidth === 0;
    line.textContent = `Wider than the page; scroll it sideways for: ${beyond.map((heading) => heading.firstChild.textContent.trim() || heading.textContent.trim()).join(", ")}.`;
  }).observe(scroll);
};

// The tables in other formats, packed; a browser that cannot unpack them shows no buttons.
const unpacked = async () => {
  const packed = atob(document.getElementById("exports").textContent);
  const bytes = Uint8Array.from(packed, (sign) => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
};
const scrollOf = (table) => table.closest(".scroll") ?? table;
const tables = [...document.querySelectorAll("main table")];
for (const table of tables.filter((one) => one.tHead)) {
  makeSortable(table);
  if (table.closest(".scroll")) sayWhatIsWider(table, scrollOf(table));
}
unpacked().then((exported) => {
  const names = { csv: "CSV", markdown: "Markdown", latex: "LaTeX" };
  tables.forEach((table, place) => {
    const formats = exported[place] ?? {};
    const name = (scrollOf(table).getAttribute("aria-label") ?? "table").replace(/^Table: /, "the table: ");
    scrollOf(table).after(bar("Copy: ", Object.keys(formats).map((key) => copier(names[key], name, formats[key]))));
  });
}).catch(() => {});
for (const block of document.querySelectorAll("[data-copy]")) {
  block.after(bar("Copy: ", [copier(block.dataset.copy, "this text", block.textContent)]));
}

// A figure of its own has the colours of the page written out: other programs know no variables.
const plainSvg = (source) => {
  const hues = Object.fromEntries([...source.matchAll(/--([\w-]+):(#[0-9a-f]{6})/g)].reverse().map((found) => [found[1], found[2]]));
  return source
    .replace(/@media[^{]*\{:root\{[^}]*\}\}/g, "")
    .replace(/var\(--([\w-]+)\)/g, (whole, name) => hues[name] ?? (name === "sans" ? "sans-serif" : whole));
};
for (const figure of document.querySelectorAll("main figure")) {
  const image = figure.querySelector('img[src^="data:image/svg+xml;base64,"]');
  if (!image) continue;
  const save = button("SVG", `Save as SVG: ${image.alt}`, () => {
    const bytes = Uint8Array.from(atob(image.getAttribute("src").split(",")[1]), (sign) => sign.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([plainSvg(new TextDecoder().decode(bytes))], { type: "image/svg+xml" }));
    link.download = `${figure.closest("section[id]")?.id ?? "figure"}.svg`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  save.className = "save";
  (figure.querySelector("figcaption") ?? figure).append(" ", save);
}
