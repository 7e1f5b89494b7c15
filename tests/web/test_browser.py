"""The page in a real browser, where there are playwright and Chromium; neither is among the extras."""

import io
import os
import shutil

import pytest
from PIL import Image
from standing_in import UNDECIDED_LEVEL, Running, StandIn, png, speckled

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path")

MARKUP = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # Chromium has no sandbox for root, as in containers.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server():
    with Running() as running:
        yield running


@pytest.fixture(params=[1400, 390], ids=["wide", "phone"])
def opened(request, browser, server):
    """Open the page; it must neither complain, nor ask anybody else, nor be wider than the window."""
    context = browser.new_context(viewport={"width": request.param, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    page = context.new_page()
    faults, asked = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console", lambda message: faults.append(message.text) if "status of 422" not in message.text else 0
    )
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.goto(server.url)
    page.asked = asked
    yield page
    assert faults == []
    assert all(url.startswith((server.url, "data:", f"blob:{server.url}")) for url in asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param
    context.close()


def given(name, content, kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": content}


def cards(page, count):
    """Return the cards once there are so many and all of them are done."""
    found = page.locator(".card")
    expect(found).to_have_count(count)
    expect(page.locator("[aria-busy]")).to_have_count(0, timeout=20_000)
    return found


def test_upload(opened):
    opened.set_input_files("#chooser", [given("spot.png", speckled())])
    card = cards(opened, 1).first
    answer = StandIn().classify(speckled())
    expect(card.locator(".file")).to_have_text("spot.png")
    expect(card.locator(".verdict .name")).to_have_text(answer.name)
    expect(card.locator(".bars li")).to_have_count(7)
    expect(card.locator(".bars li").first).to_contain_text(f"{answer.name}{100 * answer.probability:.1f} %")
    expect(opened.locator("footer")).to_have_text(answer.notice)
    expect(opened.get_by_text("medical device")).to_have_count(1)
    expect(card.locator(".novelty")).to_have_text("Novelty 0.50; the limit is 1.")
    expect(card.locator(".banner")).to_have_count(0)
    expect(opened.locator("footer")).to_be_in_viewport()
    for name, size in (("original", 40), ("seen", 28), ("explanation", 56)):
        image = card.locator(f".{name} img")
        expect(image).to_be_visible()
        assert image.evaluate("image => image.naturalWidth") == size
    assert (
        card.locator(".seen img").evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    )
    widths = card.locator(".fill").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 10 * widths[1] > 0


def test_samples(opened):
    samples = opened.locator(".sample")
    expect(samples).to_have_count(8)
    samples.nth(3).click()
    card = cards(opened, 1).first
    expect(card.locator(".file")).to_have_text("Dermatofibroma (synthetic)")
    expect(card.locator(".verdict")).to_be_in_viewport()
    assert card.locator(".original img").evaluate("image => image.naturalWidth") == 96


def test_an_undecided_answer(opened):
    opened.set_input_files("#chooser", [given("between.png", speckled(UNDECIDED_LEVEL))])
    card = cards(opened, 1).first
    answer = StandIn().classify(speckled(UNDECIDED_LEVEL))
    assert answer.undecided
    expect(card.locator(".verdict")).to_have_text(answer.answer.capitalize())
    expect(card.locator(".candidate .class")).to_have_text(
        [answer.full_names[label] for label in answer.candidates]
    )


def test_several_at_once_and_wrong_ones(opened):
    whole = [given(f"{level}.png", speckled(level)) for level in range(10, 60, 10)]
    wrong = [given("notes.txt", b"hello", "text/plain"), given("cut.png", speckled()[:-60])]
    opened.set_input_files("#chooser", whole + wrong)
    found = cards(opened, 7)
    names = [one["name"] for one in whole + wrong]
    assert found.locator(".file").all_text_contents() == names
    expect(opened.locator(".failed")).to_have_count(2)
    expect(found.nth(5)).to_contain_text("is not a complete PNG, JPEG, WebP or BMP")
    expect(found.nth(6)).to_contain_text("damaged or truncated picture")
    expect(opened.locator("#status")).to_have_text("7 pictures")
    opened.set_input_files("#chooser", [given("later.png", speckled())])
    expect(cards(opened, 8).first).to_contain_text("later.png")
    opened.locator("#clear").click()
    cards(opened, 0)


def test_huge_files_are_not_sent(opened, tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(33 * 2**20)
    opened.set_input_files("#chooser", [tmp_path / "huge.png"])
    expect(cards(opened, 1).first).to_contain_text(
        "This file has 33 MB; expected at most 32, so scale it down"
    )
    assert not [url for url in opened.asked if "classify" in url]


def test_names_are_text(opened):
    opened.set_input_files("#chooser", [given(MARKUP, speckled()), given(MARKUP, b"wrong")])
    assert cards(opened, 2).locator(".file").all_text_contents() == [MARKUP, MARKUP]
    assert opened.locator(".head img").count() == 0


def test_what_the_server_says_is_text(opened):
    grey = png(Image.new("L", (9, 9), 77))
    opened.set_input_files("#chooser", [given("grey.png", grey)])
    card = cards(opened, 1).first
    expect(card.locator(".banner")).to_have_text("The picture is unlike <i>those</i> that were learnt.")
    expect(card.locator(".beyond .verdict")).to_have_text("Out of distribution")
    assert "%" not in card.locator(".verdict").text_content()
    expect(opened.locator(".kicker")).to_contain_text("Stand-in <b>model</b>")


def test_pictures_that_the_browser_cannot_show(opened):
    buffer = io.BytesIO()
    Image.new("CMYK", (9, 9)).save(buffer, "JPEG")
    opened.set_input_files("#chooser", [given("ink.jpg", buffer.getvalue(), "image/jpeg")])
    expect(cards(opened, 1).locator(".seen img")).to_be_visible()


def dropped(page, script):
    transfer = page.evaluate_handle(script, list(speckled()))
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#curtain")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.locator("#curtain")).to_be_hidden()


def test_drag(opened):
    dropped(
        opened,
        """bytes => {
            const transfer = new DataTransfer();
            for (const name of ["one.png", "two.png"])
                transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
            return transfer;
        }""",
    )
    assert cards(opened, 2).locator(".file").all_text_contents() == ["one.png", "two.png"]
    expect(opened.locator(".failed")).to_have_count(0)
    dropped(opened, "() => { const t = new DataTransfer(); t.setData('text/plain', 'x'); return t; }")
    expect(opened.locator("#status")).to_contain_text("Only files can be dropped")


def test_paste(opened):
    opened.evaluate(
        """bytes => navigator.clipboard.write([new ClipboardItem(
            {"image/png": new Blob([new Uint8Array(bytes)], {type: "image/png"})})])""",
        list(speckled()),
    )
    opened.keyboard.press("Control+V")
    expect(cards(opened, 1).locator(".verdict")).to_be_visible()
    opened.evaluate("navigator.clipboard.writeText('words')")
    opened.keyboard.press("Control+V")
    expect(opened.locator("#status")).to_contain_text("The clipboard holds no picture")


def test_keyboard_only(opened):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "chooser"
    ring = opened.locator(".act").evaluate("button => getComputedStyle(button).outlineStyle")
    assert ring == "solid"
    for key in ("Space", "Enter"):
        with opened.expect_file_chooser() as chooser:
            opened.keyboard.press(key)
    assert chooser.value.is_multiple()
    chooser.value.set_files([given("first.png", speckled(20)), given("second.png", speckled(30))])
    cards(opened, 2)
    for _ in range(8):
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.className") == "sample"
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "clear"
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove first.png"
    opened.keyboard.press("Enter")
    cards(opened, 1)
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove second.png"
    opened.keyboard.press("Space")
    cards(opened, 0)
    assert opened.evaluate("document.activeElement.id") == "chooser"
    for _ in range(9):
        opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    expect(opened.locator("details").first).to_have_attribute("open", "")


def test_a_server_that_has_ended(browser):
    with Running() as ending:
        page = browser.new_page()
        page.goto(ending.url)
    page.set_input_files("#chooser", [given("late.png", speckled())])
    expect(cards(page, 1).first).to_contain_text("see whether the program behind this page still runs")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ink_stands_out(browser, server, scheme):
    """WCAG 2.2 asks for a contrast of 4.5 for text."""
    page = browser.new_page(color_scheme=scheme)
    page.goto(server.url)
    page.set_input_files("#chooser", [given("spot.png", speckled())])
    cards(page, 1)
    read = """pair => pair.map(([name, property]) =>
        getComputedStyle(document.querySelector(name))[property].match(/[\\d.]+/g).slice(0, 3).map(Number))"""
    for text, behind in (
        ("body", "body"), (".deck", "body"), (".sample", ".sample"), (".act", ".act"),
        (".percent", ".card"), ("footer", "footer"), (".for", ".card"), (".against", ".card"),
    ):  # fmt: skip
        ink, paper = page.evaluate(read, [[text, "color"], [behind, "backgroundColor"]])
        assert contrast(ink, paper) >= 3.7 if text in (".for", ".against") else contrast(ink, paper) >= 4.5
    page.close()


def contrast(one, other):
    def luminance(levels):
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in levels)
        ]
        return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
