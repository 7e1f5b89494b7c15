// Copies code, and turns slides. Every page works without it.
"use strict";

for (const source of document.querySelectorAll("pre.source, .lesson pre:has(> code[class])")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    button.textContent = (await copied(source)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  const frame = document.createElement("div");
  frame.className = "copyable";
  source.replaceWith(frame);
  frame.append(button, source);
}

// A page opened from a file may have no clipboard; then the code is selected.
async function copied(source) {
  try {
    await navigator.clipboard.writeText(`${source.textContent}\n`);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}

const slides = [...document.querySelectorAll(".slide")];
const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, Enter: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };

function current() {
  const distances = slides.map((slide) => Math.abs(slide.getBoundingClientRect().top));
  return distances.indexOf(Math.min(...distances));
}

if (slides.length) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    let target = null;
    if (event.key === "Home") target = 0;
    else if (event.key === "End") target = slides.length - 1;
    else if (event.key in steps) target = current() + (event.key === " " && event.shiftKey ? -1 : steps[event.key]);
    else if (event.key === "f") document.documentElement.requestFullscreen?.();
    if (target === null) return;
    event.preventDefault();
    slides[Math.max(0, Math.min(target, slides.length - 1))].scrollIntoView();
  });
}
