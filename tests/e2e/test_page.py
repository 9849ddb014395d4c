"""The page in a real browser: sign in, read the story, approve; nothing hostile runs, nothing overflows, no
script is needed."""

from collections.abc import Iterator

import pytest
from page_browser import LOOKS, NEEDS_CHROMIUM, grave_issues, open_everything, tab_to
from page_browser import enter as sign_in
from playwright.sync_api import Browser, BrowserContext, Page
from web_flows import clock, hostile_library, text
from web_population import add_population
from web_served import answering
from web_world import IMAGE, PASSPHRASE, World, add_running_run, add_swap, make_home, make_world

from evolve.tables import CandidateRow, RunEventRow, RunRow
from evolve.web.server import bind

OWNED = "document.title='owned'"
PAYLOADS = (
    f"<script>{OWNED}</script>",
    f'<img src=x onerror="{OWNED}">',
    f'<svg onload="{OWNED}">',
    '\u202e"><style>*{display:none}</style>',
    f'" autofocus onfocus="{OWNED}" x="',
    f'</title></textarea></pre></details><iframe srcdoc="<script>parent.{OWNED}</script>"></iframe>',
    '<img src="http://203.0.113.7/seen"><link rel=stylesheet href=//203.0.113.7/s><base href=//203.0.113.7/>',
    '<meta http-equiv=refresh content="0;url=http://203.0.113.7/">',
    f'<a href="javascript:{OWNED}">x</a><form action=//203.0.113.7><button autofocus>x</button></form>',
    f'<div hx-get="http://203.0.113.7/" hx-trigger="load" hx-on::load="{OWNED}" data-hx-get="/signout"></div>',
    "{{ ''.__class__ }}{% print(1) %}${7*7}<%= 7*7 %>",
    f'<math><mtext></form><mglyph><style></math><img src onerror="{OWNED}">',
)
PAYLOAD = "".join(PAYLOADS)

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    def hostile(honest: str) -> str:
        return honest + PAYLOAD

    home = make_home(tmp_path_factory.mktemp("page") / "home")
    built = make_world(home, text=hostile, workflows=(text(clock()), hostile_library(hostile)))
    yield built
    built.close()


@pytest.fixture
def ready(world: World) -> None:
    world.book.approved.clear()
    with world.store.write() as session:
        row = session.get_one(CandidateRow, world.candidate_id)
        row.state, row.decided_by, row.decided_reason, row.approval_digest = "ready", "", "", None
        session.add(row)


def enter(context: BrowserContext, address: str, person: str = "ada") -> Page:
    return sign_in(context, address, person, PASSPHRASE)


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("script", [True, False], ids=["script on", "script off"])
def test_sign_in_read_approve(browser: Browser, address: str, world: World, script: bool) -> None:
    with browser.new_context(java_script_enabled=script) as context:
        page = enter(context, address)
        page.get_by_role("link", name="Read its story").click()
        for part in (
            "What to distrust",
            "What failed",
            "Where",
            "The change",
            "Before and after",
            "What it cost",
        ):
            assert page.get_by_role("heading", name=part).is_visible(), part
        form = page.get_by_role("form", name="Approve exactly these bytes")
        form.get_by_label("Reason").fill("I read the diff and the held-out cases")
        form.get_by_label("Last 8 digits").fill("00000000")
        form.get_by_label("Your passphrase").fill(PASSPHRASE)
        form.get_by_role("button", name="Approve").click()
        page.get_by_text("That was not done.").wait_for()
        assert world.book.approved == []
        assert form.get_by_label("Reason").input_value() == "I read the diff and the held-out cases"
        form.get_by_label("Last 8 digits").fill(IMAGE[-8:])
        form.get_by_label("Your passphrase").fill(PASSPHRASE)
        form.get_by_role("button", name="Approve").click()
        page.get_by_text("I read the diff and the held-out cases").wait_for()
        assert [asked["person"] for asked in world.book.approved] == ["ada"]
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_fits_and_runs_nothing(
    browser: Browser, address: str, world: World, width: int, scheme: str
) -> None:
    with browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = enter(context, address)
        asked: list[str] = []
        ended = add_population(world, text=lambda honest: honest + PAYLOAD)
        page.on("request", lambda request: asked.append(request.url))
        for path in (
            "/",
            "/batches",
            f"/batches/{world.batch_id}",
            "/runs",
            f"/runs/{world.run_id}",
            f"/runs/{ended}",
            f"/runs/{ended}/proposals/1/1",
            f"/runs/{ended}/proposals/2/1",
            f"/candidates/{world.candidate_id}",
            "/history",
            "/swaps/swap-1",
        ):
            page.goto(address + path)
            open_everything(page)
            page.wait_for_timeout(50)
            assert page.title().endswith("· evolve"), path
            assert page.url == address + path, "sent elsewhere"
            assert (
                page.locator("script").count()
                == path.startswith("/swaps/") * page.locator("script[src]").count()
            )
            assert page.locator("main [hx-get], main [onfocus], main [onload], main [onerror]").count() == 0
            assert page.locator("img:not(.brand img), iframe, object, base, style").count() == 0
            assert page.get_by_role("main").is_visible()
            wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not page.evaluate(wide), f"{path} is wider than {width}"
            narrow = (
                "[...document.querySelectorAll('.asked')].some(e => e.clientWidth < 150 && e.clientWidth > 0)"
            )
            assert not page.evaluate(narrow), f"{path}: text squeezed into a column at {width}"
        assert all(url.startswith(address) for url in asked), "nothing else is ever contacted"


@pytest.mark.usefixtures("ready")
def test_keyboard_alone_is_enough(browser: Browser, address: str) -> None:
    with browser.new_context() as context:
        page = enter(context, address)
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Skip to the content"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0"), (
            "visible when focused"
        )
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="What to distrust").wait_for()


@pytest.mark.usefixtures("ready")
def test_another_site_can_neither_frame_nor_post(browser: Browser, address: str, world: World) -> None:
    """A hostile page in the signed-in browser, on another port of the same machine: the same *site* for
    cookies."""
    target = f"{address}/candidates/{world.candidate_id}"
    hostile = (
        f'<iframe id=f src="{target}"></iframe><form id=x method=post action="{target}/decline">'
        "<input name=nonce value=guess><input name=reason value=forged></form>"
    )

    async def evil(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] == "http":
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
            )  # type: ignore[operator]
            await send({"type": "http.response.body", "body": hostile.encode()})  # type: ignore[operator]

    with bind("127.0.0.1", 0) as listener, answering(evil, listener), browser.new_context() as context:
        port = listener.getsockname()[1]
        enter(context, address)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        inner = page.frames[-1]
        assert "Decision" not in inner.content(), "framed"
        with page.expect_navigation():
            page.evaluate("document.getElementById('x').submit()")
        assert "Refused" in page.content()
        assert world.book.decisions == 0


@pytest.mark.parametrize("script", [True, False], ids=["script on", "script off"])
def test_a_run_is_live_with_and_without_a_script(
    browser: Browser, address: str, world: World, script: bool
) -> None:
    run_id = add_population(world, running=True)
    with browser.new_context(java_script_enabled=script) as context:
        page = enter(context, address)
        broken: list[str] = []
        page.on("console", lambda message: broken.append(message.text) if message.type == "error" else None)
        page.goto(f"{address}/runs/{run_id}")
        assert page.get_by_role("status").inner_text().startswith("Live: pass 3: trial")
        assert page.get_by_text("3.25").is_visible()
        if script:
            page.evaluate("window.here = true")
        page.locator(".population summary").first.click()
        with world.store.write() as session:
            session.add(RunEventRow(run_id=run_id, stage="trial", text="and now something new"))
        page.get_by_text("and now something new").wait_for(timeout=20_000)
        if script:
            assert page.locator(".population details[open]").count() == 1, "what is unfolded stays so"
        with world.store.write() as session:
            row = session.get_one(RunRow, run_id)
            row.state = "finished"
            session.add(row)
        page.locator(".badge.good", has_text="finished").wait_for(timeout=20_000)
        assert page.get_by_role("status").count() == 0, "a finished run does not ask again"
        if script:
            assert page.evaluate("window.here"), "the page was never loaded anew"
            assert broken == [], "the policy lets the script do all that it does"


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_nobody_is_kept_out(browser: Browser, address: str, world: World, width: int, scheme: str) -> None:
    """axe finds nothing serious or critical, whatever is unfolded."""
    moving = f"swap-axe-{width}-{scheme}"
    add_swap(world, moving, "ACCEPTED", "PREFLIGHT")
    run_id, ended = add_running_run(world), add_population(world)
    with browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{address}/signin")
        assert grave_issues(page) == []
        page.close()
        page = enter(context, address)
        for path in (
            "/?live=off",
            "/batches",
            f"/batches/{world.batch_id}",
            "/runs?live=off",
            f"/runs/{world.run_id}",
            f"/runs/{run_id}?live=off",
            f"/runs/{ended}",
            f"/runs/{ended}/proposals/1/1",
            f"/candidates/{world.candidate_id}",
            "/workflows",
            "/history?rows=all",
            "/swaps/swap-1",
            f"/swaps/{moving}",
            "/nothing/here",
        ):
            page.goto(address + path)
            open_everything(page)
            assert grave_issues(page) == [], path


@pytest.mark.usefixtures("ready")
def test_an_approval_by_keyboard_alone(browser: Browser, address: str, world: World) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        page.locator("#person:focus").wait_for()
        page.keyboard.type("ada")
        tab_to(page, "Passphrase")
        page.keyboard.type(PASSPHRASE)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Inbox").wait_for()
        page.goto(f"{address}/?live=off")
        tab_to(page, f"Read its story ({world.candidate_id})")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="What to distrust").wait_for()
        tab_to(page, "Reason")
        page.keyboard.type("I read it with my fingers")
        tab_to(page, "Last 8 digits of the image, as marked above")
        page.keyboard.type(IMAGE[-8:])
        tab_to(page, "Your passphrase, ada")
        page.keyboard.type(PASSPHRASE)
        tab_to(page, "Approve")
        page.keyboard.press("Enter")
        page.get_by_text("I read it with my fingers").wait_for()
        assert [asked["reason"] for asked in world.book.approved] == ["I read it with my fingers"]


@pytest.mark.parametrize("script", [True, False], ids=["script on", "script off"])
def test_a_swap_is_live_with_and_without_a_script(
    browser: Browser, address: str, world: World, script: bool
) -> None:
    moving = f"swap-live-{script}"
    add_swap(world, moving, "ACCEPTED", "PREFLIGHT")
    with browser.new_context(java_script_enabled=script) as context:
        page = enter(context, address)
        broken: list[str] = []
        page.on("console", lambda message: broken.append(message.text) if message.type == "error" else None)
        page.goto(f"{address}/swaps/{moving}")
        if script:
            page.evaluate("window.here = true")
        page.locator(".timeline summary").last.click()
        add_swap(world, moving, "HOLD")
        page.locator(".timeline .badge", has_text="hold").wait_for(timeout=30_000)
        if script:
            page.get_by_label("Reason").fill("typed while it moves")
            assert page.locator(".timeline details[open]").count() == 1, "what is unfolded stays so"
        add_swap(world, moving, "committed")
        page.get_by_role("status").filter(has_text="committed").wait_for(timeout=30_000)
        assert page.get_by_text("Live:").count() == 0
        if script:
            assert page.evaluate("window.here"), "the page was never loaded anew"
            assert page.get_by_label("Reason").input_value() == "typed while it moves"
            assert broken == [], "the policy lets the script do all that it does"
