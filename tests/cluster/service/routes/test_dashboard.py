"""The page at /, in a real browser."""

import json
import shutil

import pytest


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("Chromium and its driver are not installed (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1200,1600",
    ):
        options.add_argument(argument)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    browser.implicitly_wait(30)
    yield browser
    browser.quit()


def test_the_page_shows_a_run_and_asks_of_it(service, run, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def said():
        return browser.find_element(By.ID, "said").text

    def log_in(token):
        browser.find_element(By.ID, "token").send_keys(token)
        browser.find_element(By.CSS_SELECTOR, "#login button").click()

    wait = WebDriverWait(browser, 60)
    browser.get(service.url)
    log_in("wrong")
    wait.until(lambda _: said().startswith("this token is not known here"))
    log_in(service.tokens["operate"])
    browser.find_element(By.XPATH, f"//ul[@id='runs']//button[.='{run.name}: finished']").click()
    wait.until(lambda _: "finished" in browser.find_element(By.CSS_SELECTOR, "#panel .tiles").text)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#panel figure.chart svg")) >= 6
    stages = [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#panel ol[aria-label=Curriculum] li")]
    assert stages == ["sft 12 steps, by maximum", "closed 2 steps, by maximum", "open 2 steps, by maximum"]
    newest = browser.find_elements(By.CSS_SELECTOR, "#panel article.example")
    rows = [json.loads(line) for line in (run / "trajectories.jsonl").read_text().splitlines()]
    assert [article.find_element(By.TAG_NAME, "code").text for article in newest] == [
        row["task"] for row in rows[:-5:-1]
    ]
    assert all(
        image.get_property("naturalWidth") > 0
        for article in newest
        for image in article.find_elements(By.TAG_NAME, "img")
    )
    assert not browser.find_element(By.ID, "login").is_displayed() and not said()
    buttons = browser.find_elements(By.CSS_SELECTOR, "#controls button")
    assert [button.text for button in buttons if button.is_enabled()] == [
        "Report"
    ]  # a finished run can be asked for nothing else
    buttons[-1].click()
    wait.until(lambda _: len(browser.window_handles) == 2)
    browser.switch_to.window(browser.window_handles[1])
    wait.until(lambda _: browser.title == f"{run.name} – run report")
    browser.switch_to.window(browser.window_handles[0])
    browser.find_element(By.ID, "away").click()
    assert browser.find_element(By.ID, "login").is_displayed() and not browser.find_elements(
        By.CSS_SELECTOR, "#runs li"
    )
    assert not [
        entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "40" not in entry["message"]
    ]
