"""The console: Kajiya in a browser. This folder is its shell; every page is one folder in `pages/`.

How a page is added (`pages/settings/` is an example):

1. `pages/NAME/page.py` with `PAGE = Page("NAME", icon="…", routes=(Route("GET", "/NAME", show, Role.VIEWER), …))`.
   `PAGE.routes[0]` is what the menu leads to. A handler is `async def show(request: Request) -> Response`:
   `the(request)` has workspace, gateway, people, audit log; `visit(request)` who asks, in which language; answer
   with `page(request, "NAME/show.html", key=value)`. It calls the same functions as command line and API, slow ones
   by `asyncio.to_thread`. What it changes it notes: `note(request, "job.started", job.id)`.
2. `pages/NAME/*.html`: `{% extends "shell/base.html" %}`; blocks `title`, `content`, `scripts`. Building blocks are
   in `templates/components.html` and `templates/forms.html`; `asset("NAME/NAME.js")` is the address of a file.
3. `pages/NAME/static/`: ES modules and nothing inline (the security policy forbids it). A module imports the shell's as
   `../shell/js/request.js` (`send`, `show`), `../shell/js/follow.js` (server-sent events that are replayed),
   `../shell/js/texts.js` (`t`), `../shell/js/dom.js` (`element`).
4. `pages/NAME/ja.json` and `en.json`: the texts, `{"menu": …}` being `t("NAME.menu")`, the word in the menu. A
   test compares their keys. Texts of lower layers (`tr`) follow the reader's language by themselves.
5. One line in `navigation.py`.

Rules: who may use a route stands in it (`Role`, or None for everybody on this machine). Every request that changes
something is POST, PUT or DELETE and carries `csrf_token` (a hidden field, or `send` does it). `KajiyaError`s become
a page, or JSON for a script. A route with `streaming=True` reads `request.stream()` itself, up to `body_limit`.
Every view has an address; what a script changes on it goes there by `history.replaceState`.

Tests (`tests/server/console/`): fixtures `console` (a running one), `owner` (a signed-in `httpx` client with `see` and
`submit`), `tab` (a signed-in Playwright page, for tests marked `browser`; a console error or a request to another host
fails the test). `support.console` has the same as context managers, with restart, width, theme and language.
"""
