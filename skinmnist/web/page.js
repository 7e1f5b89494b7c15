// Pictures in, cards out. Nothing is ever parsed as markup: text is set as text, from templates of the page.
"use strict";

const SIDE_BY_SIDE = 2;
const SECONDS = 90;
const maxBytes = Number(document.body.dataset.maxBytes);
const classNames = new Map(
  [...document.querySelectorAll("#classes div")].map((entry) => [
    entry.querySelector("dt").textContent,
    entry.querySelector("dd").textContent,
  ]),
);
const chooser = document.getElementById("chooser");
const answers = document.getElementById("answers");
const status = document.getElementById("status");
const clear = document.getElementById("clear");
const curtain = document.getElementById("curtain");
const waiting = [];
let working = 0;

const copy = (name) => document.getElementById(name).content.firstElementChild.cloneNode(true);
const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

function add(files) {
  const cards = document.createDocumentFragment();
  for (const file of files) {
    const card = copy("card");
    const name = file.name || "pasted picture";
    card.querySelector(".file").textContent = name;
    const remove = card.querySelector(".remove");
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => drop(card));
    cards.append(card);
    waiting.push({ file, card });
  }
  answers.prepend(cards); // What came last stands nearest to where it went in.
  showStatus();
  work();
}

function drop(card) {
  const next = card.nextElementSibling || card.previousElementSibling;
  forget(card);
  showStatus();
  (next ? next.querySelector(".remove") : chooser).focus();
}

function forget(card) {
  const original = card.querySelector(".original img");
  if (original) URL.revokeObjectURL(original.src);
  card.remove();
}

async function work() {
  while (working < SIDE_BY_SIDE && waiting.length) {
    const { file, card } = waiting.shift();
    if (!card.isConnected) continue;
    working += 1;
    ask(file)
      .then((prediction) => card.isConnected && show(card, file, prediction))
      .catch((error) => fail(card, error.message))
      .finally(() => {
        working -= 1;
        card.removeAttribute("aria-busy");
        showStatus();
        work();
      });
  }
}

async function ask(file) {
  if (file.size > maxBytes) {
    throw new Error(`This file has ${Math.ceil(file.size / 1048576)} MB; expected at most ${maxBytes / 1048576}.`);
  }
  let response;
  try {
    response = await fetch("api/classify?pictures=1", {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: file,
      signal: AbortSignal.timeout(1000 * SECONDS),
    });
  } catch {
    throw new Error("There was no answer; see whether the program behind this page still runs.");
  }
  const prediction = await response.json().catch(() => ({ error: "The answer was cut short; try again." }));
  if (!response.ok) throw new Error(prediction.error);
  return prediction;
}

function fail(card, sentence) {
  card.classList.add("failed");
  card.querySelector(".working").textContent = `${sentence.charAt(0).toUpperCase()}${sentence.slice(1).replace(/\.$/, "")}.`;
}

function show(card, file, prediction) {
  const answer = copy("answer");
  const part = (name) => answer.querySelector(name);
  part(".verdict .name").textContent = prediction.name;
  part(".verdict .share").textContent = percent(prediction.probability);
  for (const warning of prediction.warnings) {
    const banner = document.createElement("p");
    banner.className = "banner";
    banner.textContent = warning;
    part(".warnings").append(banner);
  }
  const original = part(".original img");
  original.addEventListener("error", () => part(".original").remove());
  original.src = URL.createObjectURL(file);
  part(".seen img").src = prediction.seen;
  part(".explanation img").src = prediction.explanation;
  const sorted = Object.entries(prediction.probabilities).sort((one, other) => other[1] - one[1]);
  for (const [label, share] of sorted) part(".bars").append(bar(label, share));
  if (prediction.unfamiliarity === null) part(".novelty").remove();
  else part(".novelty").textContent = `Novelty ${prediction.unfamiliarity.toFixed(2)}; the limit is 1.`;
  part(".notice").textContent = prediction.notice;
  card.querySelector(".working").replaceWith(answer);
}

function bar(label, share) {
  const line = copy("bar");
  line.querySelector(".class").textContent = classNames.get(label) || label;
  line.querySelector(".percent").textContent = percent(share);
  line.querySelector(".fill").style.transform = `scaleX(${share})`;
  return line;
}

function showStatus(sentence) {
  const all = answers.children.length;
  const open = answers.querySelectorAll("[aria-busy]").length;
  clear.hidden = all === 0;
  const pictures = all === 1 ? "1 picture" : `${all} pictures`;
  const progress = open ? `Looking at ${pictures}, ${open} to go` : `${pictures}`;
  status.textContent = sentence || (all ? progress : "");
}

chooser.addEventListener("change", () => {
  add([...chooser.files]);
  chooser.value = "";
});
chooser.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // Some browsers open a chooser with Space only; none shall open two.
  chooser.click();
});
clear.addEventListener("click", () => {
  waiting.length = 0;
  for (const card of [...answers.children]) forget(card);
  showStatus();
  chooser.focus();
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) add(files);
  else showStatus("What was pasted holds no picture.");
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  curtain.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) curtain.hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  curtain.hidden = true;
  const files = [...event.dataTransfer.files];
  if (files.length) add(files);
  else showStatus("What was dropped is no file; save the picture first.");
});
document.getElementById("example").textContent =
  `curl --data-binary @picture.jpg ${location.origin}/api/classify`;
