"""500 planted secrets of more than 20 kinds: none is left; ordinary text is untouched."""

import base64
import json
import random
import string
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.canonical import canonical_json, digest, new_id
from evidence.redact import Redactor, Unstorable, load_key, secret_environment
from evidence.redact_patterns import KINDS, iban, luhn

REDACTOR = Redactor(b"k" * 32, emails=True)
ALNUM = string.ascii_letters + string.digits


def some(dice: random.Random, length: int, alphabet: str = ALNUM) -> str:
    return "".join(dice.choices(alphabet, k=length))


def hexes(dice: random.Random, length: int) -> str:
    return some(dice, length, "0123456789abcdef")


def b64(dice: random.Random, size: int) -> str:
    return base64.b64encode(dice.randbytes(size)).decode()


def b64url(dice: random.Random, size: int) -> str:
    return base64.urlsafe_b64encode(dice.randbytes(size)).decode().rstrip("=")


def card(dice: random.Random) -> str:
    digits = "4" + some(dice, 14, string.digits)
    number = next(digits + c for c in string.digits if luhn(digits + c))
    return dice.choice(["", " ", "-"]).join(number[i : i + 4] for i in range(0, 16, 4))


def account(dice: random.Random) -> str:
    body = some(dice, 18, string.digits)
    return next(f"DE{check:02d}{body}" for check in range(2, 99) if iban(f"DE{check:02d}{body}"))


def pem(dice: random.Random) -> str:
    lines = "\n".join(b64(dice, 48) for _ in range(5))
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"


# kind -> (text around it, the secret); the secret must be gone, `{}` shows where it stands.
PLANTS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "private_key": lambda d: ("key file: {}", pem(d)),
    "jwt": lambda d: ("{}", f"eyJ{b64url(d, 20)}.eyJ{b64url(d, 40)}.{b64url(d, 32)}"),
    "aws_access_key": lambda d: ("id {} used", "AKIA" + some(d, 16, string.ascii_uppercase + string.digits)),
    "aws_secret_key": lambda d: ("aws_secret_access_key = {}", b64(d, 30)),
    "gcp_api_key": lambda d: ("maps?key={}", "AIza" + some(d, 35)),
    "google_oauth": lambda d: ("{}", "ya29." + some(d, 60)),
    "github": lambda d: ("push with {}", d.choice(["ghp_", "gho_", "ghs_", "github_pat_"]) + some(d, 36)),
    "gitlab": lambda d: ("{}", "glpat-" + some(d, 20)),
    "slack": lambda d: ("{}", f"xoxb-{some(d, 11, string.digits)}-{some(d, 24)}"),
    "slack_webhook": lambda d: (
        "https://{}",
        f"hooks.slack.com/services/T{some(d, 8)}/B{some(d, 8)}/{some(d, 24)}",
    ),
    "stripe": lambda d: ("{}", d.choice(["sk_live_", "rk_test_", "whsec_"]) + some(d, 24)),
    "anthropic": lambda d: ("{}", "sk-ant-api03-" + some(d, 80)),
    "openai": lambda d: ("OPENAI: {}", d.choice(["sk-", "sk-proj-"]) + "T3" + some(d, 46)),
    "huggingface": lambda d: ("{}", "hf_" + some(d, 34)),
    "npm": lambda d: ("//r/:_authToken={}", "npm_" + some(d, 36)),
    "pypi": lambda d: ("{}", "pypi-AgEIcHlwaS5vcmc" + some(d, 80)),
    "sendgrid": lambda d: ("{}", f"SG.{some(d, 22)}.{some(d, 43)}"),
    "twilio": lambda d: ("{}", "SK" + hexes(d, 32)),
    "azure": lambda d: ("AccountName=x;AccountKey={};", b64(d, 64)),
    "digitalocean": lambda d: ("{}", "dop_v1_" + hexes(d, 64)),
    "databricks": lambda d: ("{}", "dapi" + hexes(d, 32)),
    "shopify": lambda d: ("{}", "shpat_" + hexes(d, 32)),
    "mailgun": lambda d: ("{}", "key-" + hexes(d, 32)),
    "telegram": lambda d: ("{}", f"{d.randrange(10**8, 10**9)}:AA{some(d, 33)}"),
    "discord": lambda d: (
        "https://{}",
        f"discord.com/api/webhooks/{some(d, 18, string.digits)}/{some(d, 68)}",
    ),
    "docker": lambda d: ("{}", "dckr_pat_" + some(d, 27)),
    "square": lambda d: ("{}", "sq0atp-" + some(d, 22)),
    "age": lambda d: ("{}", "AGE-SECRET-KEY-1" + some(d, 58, string.ascii_uppercase + string.digits)),
    "vault": lambda d: ("{}", "hvs." + some(d, 90)),
    "bearer": lambda d: (
        "Authorization: Bearer {}",
        "a1" + some(d, 20, string.ascii_lowercase + string.digits),
    ),
    "basic_auth": lambda d: (
        "authorization: basic {}",
        base64.b64encode(f"ann:{some(d, 12)}7".encode()).decode(),
    ),
    "url_password": lambda d: ("postgres://ann:{}@db:5432/x", some(d, 9)),
    "assigned": lambda d: ("DB_PASSWORD='{}'", "x7" + some(d, 8)),
    "iban": lambda d: ("pay to {} now", account(d)),
    "card": lambda d: ("card {} please", card(d)),
    "email": lambda d: ("mail {}, ok", f"{some(d, 8)}@example.org"),
    "token": lambda d: ("the value was {} then", "aB3" + b64url(d, 36)),
}

PHRASES = [
    "the weather in Paris is 21.5 degrees on 2026-11-22 at 10:15",
    "order 4711 costs EUR 12,345.67, see section 3.2 of the basic manual",
    "your token budget is a secret to nobody",
    "password reset works",
    "the key idea is bearer bonds",
    "the password: required",
    "call +49 30 1234567",
    "version 1.2.3-rc.4",
    "café naïve 東京 🦆",
    "max_tokens=4096",
    "sk-learn AIzawa",
    "https://example.com/a/b?q=weather&lang=en",
    "/usr/lib/python3.11/site-packages/pydantic/main.py",
    "test_that_everything_is_fine_2 getElementsByClassNameFromDocument",
]


def nested(dice: random.Random, text: str) -> object:
    """The text somewhere in JSON, also as JSON within a string."""
    return dice.choice(
        [
            lambda: {"messages": [{"role": "user", "content": text}]},
            lambda: {"content": [{"type": "text", "text": json.dumps({"result": text})}]},
            lambda: [text, {"x": {"y": [text]}}],
            lambda: {text: 1},
        ]
    )()


def test_every_kind_is_planted() -> None:
    assert {kind.name for kind in KINDS} <= set(PLANTS)
    assert len(PLANTS) >= 20


def test_no_planted_secret_is_left() -> None:
    dice = random.Random(11)
    kinds = sorted(PLANTS)
    for number in range(600):
        frame, secret = PLANTS[kinds[number % len(kinds)]](dice)
        around = " ".join(dice.choices(PHRASES, k=dice.randrange(1, 4)))
        value = nested(dice, f"{around} {frame.format(secret)} {around}")
        stored = json.dumps(REDACTOR.value(value), ensure_ascii=False)
        inner = secret.splitlines()[1] if "\n" in secret else secret
        assert inner not in stored, (kinds[number % len(kinds)], secret, stored)
        assert "[redacted:" in stored


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PHRASES), min_size=1, max_size=20).map(" ".join))
def test_ordinary_text_is_untouched(text: str) -> None:
    assert Redactor(b"k" * 32).text(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(JSON)
def test_any_json_comes_back_storable_and_redaction_is_idempotent(value: object) -> None:
    once = REDACTOR.value(value)
    canonical_json(once)
    assert REDACTOR.value(once) == once


def test_names_are_not_secrets() -> None:
    for name in (
        new_id(),
        str(uuid.uuid4()),
        digest(b"x"),
        "a" * 40,
        "chatcmpl-9XyZ8abCDefGHijKLmnOPqrSTuv",
        "call_Zz09AbCdEfGhIjKlMnOpQrSt12",
        "refs/heads/feature/Add-New-Endpoint-2",
    ):
        assert REDACTOR.text(f"id {name}.") == f"id {name}."


def test_the_same_secret_has_the_same_placeholder_and_the_key_matters() -> None:
    secret = "ghp_" + "a1B2" * 9
    first, second = REDACTOR.text(f"use {secret}"), REDACTOR.text(f"and {secret} again")
    mark = first.removeprefix("use ")
    assert mark in second
    assert REDACTOR.text(first) == first
    assert Redactor(b"other").text(secret) != mark


def test_known_values_and_secret_keys() -> None:
    values = secret_environment({"MY_API_KEY": "plain words", "HOME": "/root/home", "DB_PASS": "short"})
    assert values == ("plain words",)
    redactor = Redactor(b"k", values=values)
    assert "plain words" not in redactor.text("it says plain words here")
    assert redactor.value({"password": "hunter"})["password"].startswith("[redacted:assigned:")
    assert redactor.value({"max_tokens": 5, "password": None}) == {"max_tokens": 5, "password": None}


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(Unstorable):
        REDACTOR.value({"x": [float("inf")]})


def test_the_key_is_made_once_for_its_owner_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("keys") / "redact.key"
    assert load_key(path) == load_key(path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "frame",
    [
        lambda piece: {"choices": [{"index": 0, "delta": {"content": piece}}]},
        lambda piece: {
            "choices": [{"delta": {"tool_calls": [{"index": 1, "function": {"arguments": piece}}]}}]
        },
        lambda piece: {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": piece},
        },
        lambda piece: {"type": "response.output_text.delta", "item_id": "m", "delta": piece},
    ],
)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_secret_in_pieces_is_found(frame: Callable[[str], object], size: int) -> None:
    text = "take ghp_" + "a1B2" * 9 + " and go"
    frames = [frame(text[i : i + size]) for i in range(0, len(text), size)]
    stored = REDACTOR.value({"response": {"frames": frames}})["response"]["frames"]
    assert len(stored) == len(frames)
    flat = json.dumps(stored)
    assert "take [redacted:github:" in flat
    assert "a1B" not in flat
    plain = [frame(piece) for piece in ("nothing ", "secret ", "here")]
    assert REDACTOR.value(plain) == plain
