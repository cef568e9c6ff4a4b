"""The report in a browser without network: its sliders, its width on a phone, its dark colours."""

import pathlib
import shutil

import numpy as np
import pytest

from parts_jax.data import pipeline
from parts_jax.report import page as report
from tests.report import test_page as test_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER),
                                reason="chromium or chromedriver is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory, save_untrained) -> pathlib.Path:
    workdir = save_untrained(tmp_path_factory.mktemp("browser") / "run")
    (workdir / "evaluation").mkdir()
    test_report.write_evaluation(workdir, step=0)
    test_report.write_rollout(workdir, step=0)
    test_report.write_metrics(workdir, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "open_split", lambda *_: test_report.make_split())
        return report.write_report(workdir, num_clips=2)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--force-prefers-reduced-motion", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    """The page, just loaded, on a desk, in light colours."""
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
    set_screen(browser, 1280)
    set_colours(browser, "light")
    browser.get_log("browser")
    browser.get(page.as_uri())
    return browser


def set_screen(browser, width: int) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 700})


def set_colours(browser, scheme: str) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme},
                     {"name": "prefers-reduced-motion", "value": "reduce"}]})


def picture(browser, selector: str) -> str:
    return browser.execute_script(
        "return document.querySelector(arguments[0]).toDataURL()", selector)


def move(browser, selector: str, value: int) -> None:
    browser.execute_script(
        "const slider = document.querySelector(arguments[0]); slider.value = arguments[1];"
        "slider.dispatchEvent(new Event('input', {bubbles: true}))", selector, str(value))


def text(browser, selector: str) -> str:
    return browser.execute_script(
        "return document.querySelector(arguments[0]).textContent", selector)


def lightness(browser, name: str) -> float:
    """Of the body's colour: 0 black, 255 white."""
    colour = browser.execute_script(
        "return getComputedStyle(document.body)[arguments[0]]", name)
    return np.mean([float(part) for part in colour.strip("rgba()").split(",")[:3]])


def test_it_loads_from_disk_without_a_word_in_the_console(opened):
    assert opened.current_url.startswith("file://")
    assert opened.get_log("browser") == []
    blank = "return [...document.querySelectorAll('canvas')].filter(canvas => !canvas" \
        ".getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(x => x))" \
        ".map(canvas => canvas.ariaLabel)"
    assert [name for name in opened.execute_script(blank) if not name.startswith("slot")] == []


def test_sliders_and_slots_change_the_picture(opened):
    changed, masks = (f"#traversals canvas[aria-label={name}]" for name in ("changed", "masks"))
    before = picture(opened, changed)
    move(opened, "#value", 6)
    assert text(opened, "#value-text").startswith("3 (inferred: ")
    at_three = picture(opened, changed), picture(opened, masks)
    assert at_three[0] != before
    opened.find_element("css selector", "input[name=slot][value='0']").click()
    assert text(opened, "#value-text") == "3"
    all_slots = picture(opened, changed), picture(opened, masks)
    assert all_slots != at_three
    move(opened, "#dim", 1)
    assert (picture(opened, changed), picture(opened, masks)) != all_slots
    assert text(opened, "#dim-text").endswith(", second strongest of 4")


@pytest.mark.parametrize("name", ["clips", "attention", "rollouts"])
def test_a_frame_slider_moves_its_tiles(opened, name):
    canvas = f"#{name}-player figure:last-child canvas"
    last = picture(opened, canvas)
    move(opened, f"#{name}-player .controls input", 0)
    assert picture(opened, canvas) != last
    assert text(opened, f"#{name}-player output").startswith("frame 1")


def test_predicted_frames_have_a_border(opened):
    ahead = "return document.getElementById('rollouts-player').classList.contains('ahead')"
    assert opened.execute_script(ahead)
    move(opened, "#rollouts-player .controls input", 2)
    assert not opened.execute_script(ahead)


def test_play_moves_and_pause_stops(opened):
    button = opened.find_element("css selector", "#clips-player button")
    assert button.text == "Play"  # as who asks for less motion is not to see any
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    seen = opened.execute_async_script("""
        const done = arguments[arguments.length - 1], seen = new Set();
        const output = document.querySelector("#clips-player output");
        new MutationObserver(() => {
          seen.add(output.textContent);
          if (seen.size === 4) done(seen.size);
        }).observe(output, {childList: true});
        document.querySelector("#clips-player button").click();""")
    assert seen == 4 and button.text == "Pause"
    button.click()
    assert button.text == "Play"


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    set_screen(opened, width)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    assert opened.execute_script("return document.documentElement.clientWidth") <= width
    tiles = opened.execute_script(
        "return [...document.querySelectorAll('canvas')].map(canvas => canvas.clientWidth)")
    assert min(tiles) >= 96


def test_colours_follow_the_system(opened):
    assert lightness(opened, "backgroundColor") > 230 and lightness(opened, "color") < 60
    set_colours(opened, "dark")
    assert lightness(opened, "backgroundColor") < 40 and lightness(opened, "color") > 200
