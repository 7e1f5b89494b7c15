"""Take the pictures of README.md and the numbered ones of docs/reading_a_report.md from a report.

python -m skinmnist.compare --synthetic 2500 --out RUN
python docs/images/annotate.py RUN/report.html [chromium]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

FOLDER = Path(__file__).parent
#: By picture: the sections that it shows, and what its numbers stand at, in order.
PICTURES = {
    "report-answer": (
        [".lead", "#tradeoff"],
        [".answer", ".verdict", ".strip", "#tradeoff figure"],
    ),
    "report": ([".lead", "#tradeoff"], []),
    "tradeoff": (["#tradeoff"], []),
    "report-checks": (
        ["#leaderboard", "#checks"],
        ["#leaderboard figure", "#leaderboard .scroll", "#leaderboard tr.corrected", "#checks dl"],
    ),
    "report-certainty": (
        ["#sure", "#recall", "#finding-more"],
        ["#sure .headline", "#sure ul", "#sure figure", "#recall .heat", "#finding-more .scores"],
    ),
}
WIDTH, TALLEST = 960, 6000
SCRIPT = """
<style>
  nav, footer, h2.depth, details.fold { display: none !important; }
  body:not(:has(section.lead)) :is(#tradeoff > :not(figure), #tradeoff figcaption) { display: none; }
  body:not(:has(section.lead)) h1, body:not(:has(section.lead)) header { display: none !important; }
  .badge { position: absolute; left: -34px; top: 2px; width: 26px; height: 26px; border-radius: 50%%;
    background: #b3261e; color: #fff; font: bold 15px/26px sans-serif; text-align: center; }
</style>
<script>
  const shown = %s, places = %s;
  for (const section of document.querySelectorAll("main > section, section[id], section.lead"))
    if (!shown.some(one => section.matches(one) || section.closest(one))) section.remove();
  places.forEach((place, index) => {
    const found = document.querySelector(place);
    if (!found) return;
    const badge = document.createElement("span"), box = found.getBoundingClientRect();
    badge.className = "badge"; badge.textContent = index + 1;
    document.body.style.position = "relative";
    badge.style.left = Math.max(2, box.left - 36) + "px"; badge.style.top = box.top + scrollY + 2 + "px";
    document.body.append(badge);
  });
</script>
"""


def picture(report: str, sections: list[str], places: list[str], chromium: str) -> Image.Image:
    """Return some sections of a report with numbers beside the places."""
    page = report.replace("</body>", SCRIPT % (sections, places) + "</body>")
    with tempfile.TemporaryDirectory() as folder:
        file, shot = Path(folder, "page.html"), Path(folder, "page.png")
        file.write_text(page, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        size = f"--window-size={WIDTH},{TALLEST}"
        command = [chromium, *options, size, f"--screenshot={shot}", file.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        whole = Image.open(shot).convert("RGB")
    background = Image.new("RGB", whole.size, whole.getpixel((WIDTH - 3, TALLEST - 3)))
    found = ImageChops.difference(whole, background).getbbox() or (0, 0, WIDTH, TALLEST)
    return whole.crop((0, max(found[1] - 24, 0), WIDTH, min(found[3] + 24, TALLEST)))


def main() -> None:
    """Write all pictures."""
    report = Path(sys.argv[1]).read_text(encoding="utf-8")
    chromium = sys.argv[2] if len(sys.argv) > 2 else "chromium"
    for name, (sections, places) in PICTURES.items():
        drawn = picture(report, sections, places, chromium)
        drawn.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            FOLDER / f"{name}.png", optimize=True
        )


if __name__ == "__main__":
    main()
