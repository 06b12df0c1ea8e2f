from pathlib import Path
import os
from playwright.sync_api import sync_playwright
DECLINES = "pm_card_chargeCustomerFail"
from plan_pages import *

def test_shots(plans):
    out = Path("/tmp/fshots")
    shop = plans.shop
    shop.user("ada", email="ada.lovelace@example.com", name="Ada Lovelace")
    with sync_playwright() as p, shop.browser("ada") as browser:
        b = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox","--disable-gpu"])
        ctx = b.new_context()
        ctx.add_cookies([{"name":"bursar_session","value":browser.cookies["bursar_session"],"url":shop.url}])
        anon = b.new_context()
        faults = []
        def shot(name, path, c=ctx, dark=(False, True)):
            for width in (375, 1280):
                for d in dark:
                    page = c.new_page()
                    page.on("console", lambda m: faults.append((name, m.text)) if m.type == "error" else None)
                    page.set_viewport_size({"width": width, "height": 800})
                    page.emulate_media(color_scheme="dark" if d else "light")
                    page.goto(shop.url + path)
                    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    if over > 0: faults.append((name, width, over))
                    page.screenshot(path=str(out / f"{name}-{width}-{'dark' if d else 'light'}.png"), full_page=True)
                    page.close()
        shot("pricing-anon", "/pricing", anon)
        shot("pricing", "/pricing?period=year")
        got = plans.subscribe(browser, "basic")
        shot("success", str(got.url).removeprefix(shop.url))
        got = plans.subscribe(browser, "studio")
        shot("success-trial", str(got.url).removeprefix(shop.url))
        plans.advance(days=10)
        shot("pricing-have", "/pricing")
        import asyncio
        row = plans.row("ada")
        async def work(w):
            async with w.db.connection() as conn:
                return (await rows.list_for(conn, row.customer_id, limit=9))
        basic = [r for r in shop.call(work) if r.plan == "basic"][0]
        base = f"/account/plan/{basic.id}"
        shot("account", "/account")
        shot("change", base + "/change")
        shot("change-fault", base + "/change?to=basic:month")
        shot("quote", base + "/change?to=pro:month")
        shot("quote-year", base + "/change?to=pro:year")
        shot("cancel", base + "/cancel")
        f = form(browser.get(base + "/cancel"), base + "/cancel")
        r = browser.post(base + "/cancel", data=f)
        shot("canceled", r.headers["location"])
        f = form(browser.get("/account"), base + "/resume")
        browser.post(base + "/resume", data=f)
        plans.use_card("ada", DECLINES)
        plans.advance(days=32)
        plans.look("ada")
        shop.call(lambda w: asking.read(w.db, w.provider("stripe"), basic, clock=w.clock))
        shot("failed", "/account")
        b.close()
        print(faults)
        (out / "faults.txt").write_text(repr(faults))
