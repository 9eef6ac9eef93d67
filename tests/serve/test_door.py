"""Who gets in, what may be sent, and what every answer carries."""

import json
from types import MappingProxyType

import pytest

from convscope.reports import TOUR
from tests.serve.conftest import ORIGIN, PORT, TOKEN, client_of, packed

PATHS = ["/", "/shelf", "/assets/served.js", "/api/0/page", "/api/shelf", "/shelf/show?name=x"]


@pytest.fixture
def stranger(page):
    """Somebody without the cookie."""
    return client_of(page.app, follow_redirects=False)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_the_token(stranger, path):
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "U20"


@pytest.mark.parametrize("token", ["", "a", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü"])
def test_a_wrong_token_opens_nothing(stranger, token):
    assert stranger.get("/", params={"token": token}).status_code == 403
    stranger.cookies.set(f"convscope-{PORT}", token.encode("ascii", "replace").decode())
    assert stranger.get("/").status_code == 403


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_gets(stranger):
    answer = stranger.get(f"/?token={TOKEN}&a=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?a=1"
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert stranger.get("/").status_code == 200


def test_the_way_after_the_token_stays_on_this_server(stranger):
    for path in ("//evil.example/", "/\\evil.example"):
        answer = stranger.get(f"{ORIGIN}{path}?token={TOKEN}")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", "[::1]:7860", ""]
)
def test_a_foreign_host_is_refused_even_with_the_cookie(page, host):
    answer = page.client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "U20"


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}"])
def test_the_names_of_this_machine_are_welcome(page, host):
    # The cookie of the test client belongs to one name; a browser keeps one per name.
    headers = {"host": host, "cookie": f"convscope-{PORT}={TOKEN}"}
    assert page.client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:7860", None])
def test_a_foreign_or_missing_origin_cannot_make_it_work(page, image, origin):
    headers = {} if origin is None else {"origin": origin}
    body = packed({"want": ["prediction"]}, image=image)
    answer = page.client.post("/api/0/run?panel=p", content=body, headers=headers)
    assert answer.status_code == 403
    if origin is not None:
        assert page.client.get("/", headers=headers).status_code == 403


def test_a_request_of_another_site_is_refused_by_what_the_browser_says_of_it(page, image):
    body = packed({"want": ["prediction"]}, image=image)
    headers = {"sec-fetch-site": "cross-site"}
    assert page.post("/api/0/run?panel=p", body, **headers).status_code == 403


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_every_answer_has_the_strict_headers(page, path):
    answer = page.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


def test_pages_hold_no_script_of_their_own(page):
    for path in ("/", "/shelf"):
        text = page.client.get(path).text
        assert text.count("<script") == text.count('<script type="module" src="/assets/')
        assert "style=" not in text


@pytest.mark.parametrize(
    "name", ["_app.py", "..%2f_app.py", "__init__.py", "error.html", "a.b.js", "no.js", ".js"]
)
def test_assets_are_modules_and_style_sheets_only(page, name):
    answer = page.client.get(f"/assets/{name}")
    assert answer.status_code in (404, 422)
    assert "import" not in answer.text


@pytest.mark.parametrize(
    "path", ["/api/0/image?name=a.png", "/api/0/run?panel=p", "/api/0/method?panel=p",
             "/api/cancel?panel=p"],
)  # fmt: skip
def test_too_much_is_refused_before_it_is_read(page, path):
    taken = []

    def endless():
        for _ in range(1000):
            taken.append(1)
            yield b"\0" * 100_000

    declared = page.post(path, b"x", **{"content-length": "99999999999"})
    assert declared.status_code == 413
    assert declared.json()["error"]["code"] == "U21"
    # The test client collects a body before it sends it; the server says no all the same.
    answer = page.client.post(path, content=endless(), headers={"origin": ORIGIN})
    assert answer.status_code == 413


def test_a_body_without_a_length_is_read_no_further_than_it_may_be_long():
    import asyncio

    from convscope.errors import UsageError
    from convscope.serve._door import body_of

    sent = []

    class Request:
        headers = MappingProxyType({})

        async def stream(self):
            for _ in range(100):
                sent.append(1)
                yield b"\0" * 10

    with pytest.raises(UsageError, match="too large"):
        asyncio.run(body_of(Request(), 25))
    assert len(sent) == 3


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xff\xff\xff", b"\x02\0\0\0{", b"\x02\0\0\0[]", packed({})[:-1] + b"",
     b"\x02\0\0\0{}more", packed({"arrays_": 1}) + b"\0",
     (lambda text: len(text).to_bytes(4, "little") + text)(
         json.dumps({"arrays": [["image", [1 << 30, 1 << 30]]]}).encode()),
     (lambda text: len(text).to_bytes(4, "little") + text)(b'{"a":' * 5000 + b"1" + b"}" * 5000)],
)  # fmt: skip
def test_what_is_no_frame_is_refused(page, body):
    answer = page.post("/api/0/run?panel=p", body)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "U21"


def test_errors_are_json_without_a_traceback(page, monkeypatch, caplog):
    lost = page.client.get("/nowhere")
    assert lost.status_code == 404
    assert lost.json()["error"]["what"]
    assert page.client.get("/api/7/page").json()["error"]["code"] == "U01"

    def broken(_):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(type(page.served.networks[0]), "page", broken)
    client = client_of(page.app, raise_server_exceptions=False)
    client.get(f"/?token={TOKEN}")
    answer = client.get("/api/0/page")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "bug" in answer.json()["error"]["what"]
    assert "a secret detail" in caplog.text


def test_pages_hold_the_glossary_and_the_tour(page):
    text = page.client.get("/").text
    assert 'id="T-logit" data-forms="logit|logits"' in text
    steps = page.client.get("/api/0/page").json()["tour"]
    assert [step["title"] for step in steps] == [step.title for step in TOUR]
