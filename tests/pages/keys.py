"""The keyboard, for tests in a browser."""

from playwright.sync_api import Page


def press(page: Page, *keys: str) -> None:
    """Press `keys` one after the other ("r", "Enter", "Shift+X"; names of Playwright), as soon as the page listens.

    A page that is on its way already shows its new heading while its scripts, which are modules, have not run: a key
    pressed then is nobody's.
    """
    page.wait_for_load_state()
    for key in keys:
        page.keyboard.press(key)
