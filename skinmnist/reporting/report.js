// Folded parts open for a link to them, and on paper; a wide screen shows the contents.
const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target && target.closest("details");
  if (!fold || fold.open) return;
  fold.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", openTarget);
openTarget();
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details:not([open])")) {
    fold.open = true;
    fold.dataset.printed = "";
  }
});
addEventListener("afterprint", () => {
  for (const fold of document.querySelectorAll("details[data-printed]")) {
    fold.open = false;
    delete fold.dataset.printed;
  }
});
const contents = document.querySelector(".contents details");
const wide = matchMedia("screen and (min-width: 78rem)");
if (contents) {
  contents.open = wide.matches;
  wide.addEventListener("change", () => { contents.open = wide.matches; });
}

// Figures say their values where one points, taps, or steps with the arrow keys.
const phone = matchMedia("screen and (max-width: 620px)");
for (const figure of document.querySelectorAll(".live")) {
  const values = () => JSON.parse((phone.matches && figure.dataset.narrow) || figure.dataset.values);
  const tip = document.createElement("output");
  let at = -1;
  const show = (place) => {
    at = place;
    const found = values()[place];
    if (!found) return tip.remove();
    const [x, y, text] = found;
    tip.textContent = text;
    tip.style.cssText = `left:${x}%;top:${y}%;--shift:${-x}%`;
    figure.append(tip);
  };
  const nearest = (event) => {
    const box = figure.querySelector("img").getBoundingClientRect();
    const gaps = values().map(([x, y]) =>
      Math.hypot(box.left + (x * box.width) / 100 - event.clientX, box.top + (y * box.height) / 100 - event.clientY));
    const least = Math.min(...gaps);
    return least < 28 ? gaps.indexOf(least) : -1;
  };
  figure.addEventListener("pointermove", (event) => show(nearest(event)));
  figure.addEventListener("pointerdown", (event) => show(nearest(event)));
  figure.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(-1));
  figure.addEventListener("focus", () => figure.matches(":focus-visible") && show(0));
  figure.addEventListener("blur", () => show(-1));
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step) return;
    event.preventDefault();
    const n = values().length;
    show((at + step + n) % n);
  });
}

// Mistakes of one pair, or of one class, at a time; without this script all of them are there.
const chooser = document.querySelector(".chooser");
if (chooser) {
  const [pair, name] = chooser.querySelectorAll("select");
  const choose = () => {
    for (const part of document.querySelectorAll(".of-pair")) part.hidden = part.dataset.pair !== pair.value;
    for (const item of document.querySelectorAll(".of-pair li")) item.hidden = name.value && item.dataset.class !== name.value;
  };
  chooser.hidden = false;
  chooser.addEventListener("change", choose);
  choose();
}
