"""Shapes of secrets.

Each kind names literal anchors, without one of which its expression is not even tried.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What is replaced is the group `secret`, or the whole match where the expression has no such group."""

    name: str
    anchors: tuple[str, ...]
    """Lower-case; compared with the lower-cased text. Empty: always tried."""
    pattern: re.Pattern[str]
    valid: Callable[[str], bool] | None = None


def _kind(
    name: str, anchors: str, pattern: str, valid: Callable[[str], bool] | None = None, flags: int = 0
) -> Kind:
    return Kind(name, tuple(anchors.split()), re.compile(pattern, flags), valid)


def luhn(text: str) -> bool:
    """Is this a payment card number?"""
    digits = [int(c) for c in text if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2 or digits[0] not in (2, 3, 4, 5, 6):
        return False
    total = sum(d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(reversed(digits)))
    return total % 10 == 0


_IBAN_LENGTHS = dict(
    pair.split(":")
    for pair in [
        "AD:24",
        "AE:23",
        "AT:20",
        "BE:16",
        "BG:22",
        "CH:21",
        "CY:28",
        "CZ:24",
        "DE:22",
        "DK:18",
        "EE:20",
        "ES:24",
        "FI:18",
        "FR:27",
        "GB:22",
        "GR:27",
        "HR:21",
        "HU:28",
        "IE:22",
        "IL:23",
        "IS:26",
        "IT:27",
        "LI:21",
        "LT:20",
        "LU:20",
        "LV:21",
        "MC:27",
        "MT:31",
        "NL:18",
        "NO:15",
        "PL:28",
        "PT:25",
        "RO:24",
        "SA:24",
        "SE:24",
        "SI:19",
        "SK:24",
        "SM:27",
        "TR:26",
    ]
)


def iban(text: str) -> bool:
    """Is this a bank account number with a right check sum?"""
    plain = text.replace(" ", "")
    if str(len(plain)) != _IBAN_LENGTHS.get(plain[:2]):
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _looks_secret(text: str) -> bool:
    """A value behind `password=` and the like: not a word, not a path."""
    mixed = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    return mixed and text.count("/") * 12 <= len(text)


_B64 = r"[A-Za-z0-9+/]"
_ID = r"[A-Za-z0-9_-]"
_NOT_WORD = r"(?<![A-Za-z0-9_-])"

KINDS: tuple[Kind, ...] = (
    _kind(
        "private_key",
        "private",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\S]*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:\\[nr]|[\sA-Za-z0-9+/=:,-])*)",
    ),
    _kind("jwt", "eyj", _NOT_WORD + r"eyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{8,}"),
    _kind("aws_access_key", "akia asia", r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    _kind(
        "aws_secret_key",
        "aws",
        rf"aws.{{0,40}}?(?:secret|key).{{0,20}}?['\"=:\s](?P<secret>{_B64}{{40}})(?!{_B64})",
        None,
        re.I,
    ),
    _kind("gcp_api_key", "aiza", _NOT_WORD + rf"AIza{_ID}{{35}}"),
    _kind("google_oauth", "ya29. gocspx- 1//0", r"(?:ya29\.|GOCSPX-|1//0)[A-Za-z0-9_.-]{20,}"),
    _kind(
        "github",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        _NOT_WORD + r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    ),
    _kind(
        "gitlab",
        "glpat- gldt- glrt- glptt- glcbt- gloas- glsoat- glagent-",
        rf"gl(?:pat|dt|rt|ptt|cbt|oas|soat|agent)-{_ID}{{18,}}",
    ),
    _kind("slack", "xox xapp-", r"(?:xox[abeoprs](?:\.xox[bp])?|xapp)-[A-Za-z0-9-]{10,}"),
    _kind(
        "slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}"
    ),
    _kind(
        "stripe",
        "sk_live_ rk_live_ sk_test_ rk_test_ whsec_",
        r"(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9+/=]{16,}",
    ),
    _kind("anthropic", "sk-ant-", rf"sk-ant-{_ID}{{20,}}"),
    _kind(
        "openai", "sk-", _NOT_WORD + r"sk-(?:proj-|svcacct-|admin-|None-)?(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}"
    ),
    _kind("huggingface", "hf_", _NOT_WORD + r"hf_[A-Za-z0-9]{30,}"),
    _kind("npm", "npm_", _NOT_WORD + r"npm_[A-Za-z0-9]{36}"),
    _kind("pypi", "pypi-", rf"pypi-AgE{_ID}{{40,}}"),
    _kind("sendgrid", "sg.", _NOT_WORD + rf"SG\.{_ID}{{16,}}\.{_ID}{{16,}}"),
    _kind("twilio", "sk", r"(?<![A-Za-z0-9])SK[0-9a-f]{32}(?![0-9a-f])"),
    _kind(
        "azure",
        "accountkey= sharedaccesskey= sig=",
        rf"(?:AccountKey|SharedAccessKey|[?&]sig)=(?P<secret>(?:{_B64}|%[0-9A-Fa-f]{{2}}){{30,}}=*)",
    ),
    _kind("digitalocean", "do", r"do[opr]_v1_[a-f0-9]{64}"),
    _kind("databricks", "dapi", r"(?<![A-Za-z0-9])dapi[a-f0-9]{32}"),
    _kind("shopify", "shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    _kind("mailgun", "key-", r"(?<![A-Za-z0-9])key-[a-f0-9]{32}"),
    _kind("telegram", ":aa", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{33}"),
    _kind("discord", "discord.com/api/webhooks", r"discord(?:app)?\.com/api/webhooks/\d+/[A-Za-z0-9_-]{30,}"),
    _kind("docker", "dckr_pat_", rf"dckr_pat_{_ID}{{20,}}"),
    _kind("square", "sq0 eaaa", r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,}|(?<![A-Za-z0-9])EAAA[A-Za-z0-9_-]{56,}"),
    _kind("age", "age-secret-key-", r"AGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    _kind("vault", "hvs. hvb.", rf"hv[sb]\.{_ID}{{20,}}"),
    _kind("bearer", "bearer", r"\bbearer[\s:]+(?P<secret>[A-Za-z0-9._~+/-]{12,}=*)", _looks_secret, re.I),
    _kind(
        "basic_auth", "basic", rf"\bbasic[\s]+(?P<secret>{_B64}{{8,}}={{0,2}})(?!{_B64})", _looks_secret, re.I
    ),
    _kind("url_password", "://", r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"'<>]*:(?P<secret>[^\s/@\"'<>]+)@"),
    _kind(
        "assigned",
        "key secret token passw pwd credential",
        r"(?:api[_-]?key|access[_-]?key|secret|token|passw(?:or)?d|passwd|pwd|credential)s?\\?[\"']?\s*"
        r"(?:[:=]|=>|\bis\b)\s*\\?[\"']?(?P<secret>[^\s\"'\\,;&(){}\[\]<>]{8,})",
        _looks_secret,
        re.I,
    ),
    _kind(
        "iban",
        "",
        r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
        iban,
    ),
    _kind("card", "", r"(?<![\dA-Za-z.-])\d(?:[ -]?\d){12,18}(?![\dA-Za-z]|[.-]\d)", luhn),
)

EMAIL = _kind("email", "@", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")

SECRET_KEYS = frozenset(
    [
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "client_secret",
        "api_key",
        "apikey",
        "access_key",
        "secret_key",
        "private_key",
        "access_token",
        "refresh_token",
        "id_token",
        "auth_token",
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "cookie",
        "set-cookie",
        "credentials",
    ]
)
"""A string under one of these keys is a secret whatever it looks like."""
