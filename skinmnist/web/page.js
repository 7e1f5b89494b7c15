// Turns pictures into cards. Nothing is parsed as markup: text is set as text, in templates of the page.
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
const synthetic = document.getElementById("synthetic");
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
  answers.prepend(cards); // The newest is next to where pictures go in.
  showStatus();
  work();
  reveal();
}

// On a phone the answers are below the fold, and a card without its answer is too short to scroll to the top.
function reveal() {
  const newest = answers.firstElementChild;
  const isPhone = innerWidth < 608;
  if (!newest || (!isPhone && newest.getBoundingClientRect().top < 0.6 * innerHeight)) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  newest.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
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
    throw new Error(`This file has ${Math.ceil(file.size / 1048576)} MB; expected at most ${maxBytes / 1048576}, so scale it down or save it as JPEG.`);
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
    throw new Error("No answer; see whether the program behind this page still runs.");
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
  const beyond = prediction.unfamiliarity > 1;
  answer.classList.toggle("beyond", beyond);
  part(".verdict .name").textContent = prediction.answer.replace(/^./, (letter) => letter.toUpperCase());
  if (beyond || prediction.undecided) part(".verdict .share").remove();
  else part(".verdict .share").textContent = percent(prediction.probability);
  const promise = part(".promise");
  if (promise && (beyond || !prediction.set)) promise.remove();
  for (const warning of prediction.warnings) {
    if (synthetic && warning === synthetic.textContent) continue;
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
  for (const [label, share] of sorted) {
    part(".bars").append(bar(label, share, prediction.candidates.includes(label)));
  }
  if (prediction.unfamiliarity === null) part(".novelty").remove();
  else part(".novelty").textContent = `Novelty ${prediction.unfamiliarity.toFixed(2)}; the limit is 1.`;
  card.querySelector(".working").replaceWith(answer);
  if (card === answers.firstElementChild) reveal();
}

function bar(label, share, candidate) {
  const line = copy("bar");
  line.classList.toggle("candidate", candidate);
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
  const progress = open ? `Classifying ${pictures}, ${open} to go` : `${pictures}`;
  status.textContent = sentence || (all ? progress : "");
}

chooser.addEventListener("change", () => {
  add([...chooser.files]);
  chooser.value = "";
});
chooser.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // Some browsers open the chooser with Space only; others would open two.
  chooser.click();
});
for (const sample of document.querySelectorAll(".sample")) {
  sample.addEventListener("click", async () => {
    const name = `${sample.textContent} (synthetic)`;
    const picture = await fetch(sample.querySelector("img").src).then((response) => response.blob()).catch(() => null);
    if (picture) add([new File([picture], name, { type: "image/png" })]);
    else showStatus("The sample cannot be loaded; see whether the program behind this page still runs.");
  });
}
clear.addEventListener("click", () => {
  waiting.length = 0;
  for (const card of [...answers.children]) forget(card);
  showStatus();
  chooser.focus();
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) add(files);
  else showStatus("The clipboard holds no picture.");
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
  else showStatus("Only files can be dropped; save the picture first.");
});
document.getElementById("example").textContent =
  `curl --data-binary @picture.jpg ${location.origin}/api/classify`;
