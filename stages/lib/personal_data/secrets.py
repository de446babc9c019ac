"""Keys, tokens and passwords that open something: private keys, tokens of known providers, passwords in web addresses.

The forms of providers' tokens are those of detect-secrets, which also keeps them out of this repository's commits, and a few that
it lacks. Its rules for passwords by name and for high entropy are left out: in conversations they find words.
"""

import re
from collections.abc import Iterator
from functools import cache

from stages.lib.personal_data.search import mask

LONG_RUN = re.compile(r"[A-Za-z0-9_-]{16}")  # what no token does without: few texts have one
TOKENS = (  # that detect-secrets does not know, or only in quotes
    r"github_pat_[A-Za-z0-9_]{22,255}",
    r"sk-(?:[a-z]{2,10}[0-9]{0,2}-){0,3}(?=[A-Za-z_-]*[0-9])"
    r"(?:[A-Za-z0-9]{28,255}(?:[A-Za-z0-9_-]{0,255}[A-Za-z0-9])?|(?=[a-z0-9_-]*[A-Z])[A-Za-z0-9_-]{28,255})",
    r"AIza[A-Za-z0-9_-]{35}",
    r"ya29\.[A-Za-z0-9_-]{30,255}",
    r"hf_[A-Za-z0-9]{30,255}",
    r"npm_[A-Za-z0-9]{36}",
    r"wandb_v[0-9]_[A-Za-z0-9_]{40,255}",
    r"LTAI(?=[A-Za-z]*[0-9])[A-Za-z0-9]{12,26}",  # Alibaba Cloud's, and Tencent Cloud's
    r"AKID(?=[A-Za-z]*[0-9])[A-Za-z0-9]{32}",
    r"GOCSPX-[A-Za-z0-9_-]{28}",
    r"dop_v1_[a-f0-9]{64}",
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    r"dckr_pat_[A-Za-z0-9_-]{27}",
    r"hvs\.[A-Za-z0-9_-]{24,255}",
    r"xapp-[0-9]-[A-Za-z0-9-]{20,255}",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}",
    r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,4000}",
)
# Behind a name: AWS's secret key has no form of its own, nor has what a header carries.
NAMED = re.compile(
    r"aws[\w-]{0,20}?(?:secret|access)[\w-]{0,12}?key[\w-]{0,10}[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
    r"(?P<aws>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
    r"|authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:bearer|basic|token)\s{1,3}(?P<header>[A-Za-z0-9._~+/-]{16,4000}={0,2})",
    re.IGNORECASE,
)
PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?)-----"
    r"(?P<body>(?:(?!-----).){64,20000})(?:-----END (?P=kind)-----)?",
    re.DOTALL,
)
URL_PASSWORD = re.compile(r"://[^\s/@:\"'<>]{0,100}:(?P<password>[^\s/\"'<>]{1,200})@(?P<host>[^\s/@:\"'<>]{1,200})")
# Written where people explain an address, not use it.
PLACEHOLDER = re.compile(
    r"(?:my|your|the|db|user)?[_-]?(?:pass(?:word|wd|wort)?|pwd?|pw|secret|token|key|user(?:name)?|changeme|example)|[\[{$%].*|[xX*.]+",
    re.IGNORECASE,
)
OWN_HOST = re.compile(r"localhost|127\..*|0\.0\.0\.0|host(?:name)?|server|db", re.IGNORECASE)
FILLED = re.compile(r"([A-Za-z0-9*._-])\1{7}")  # xxxxxxxx: a form to fill in


@cache
def provider_tokens() -> re.Pattern[str]:
    """One pattern for all forms of token, as a run of its own. Imported late: detect-secrets loads an HTTP client."""
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.discord import DiscordBotTokenDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.mailchimp import MailchimpDetector
    from detect_secrets.plugins.openai import OpenAIDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.square_oauth import SquareOAuthDetector
    from detect_secrets.plugins.stripe import StripeDetector
    from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
    from detect_secrets.plugins.twilio import TwilioKeyDetector

    detectors = (
        AWSKeyDetector, AzureStorageKeyDetector, DiscordBotTokenDetector, GitHubTokenDetector,
        GitLabTokenDetector, MailchimpDetector, OpenAIDetector, PypiTokenDetector, SendGridDetector,
        SlackDetector, SquareOAuthDetector, StripeDetector, TelegramBotTokenDetector, TwilioKeyDetector,
    )  # fmt: skip
    forms = list(TOKENS)
    for detector in detectors:
        denied = detector.denylist if isinstance(detector.denylist, (list, tuple)) else (detector.denylist,)
        for form in denied:
            if form.pattern.startswith("aws"):
                continue  # a name and a key in quotes: NAMED
            forms.append(f"(?i:{form.pattern})" if form.flags & re.IGNORECASE else f"(?:{form.pattern})")
    return re.compile(rf"(?<![A-Za-z0-9_/+-])(?:{'|'.join(forms)})(?![A-Za-z0-9_])")


def mask_secrets(text: str) -> str:
    """`[SECRET]` in the place of each; of a web address only the password goes. Forms to fill in stay, and passwords called so.

    >>> address = "db://ann:{}@db.firm.io"
    >>> [mask_secrets(address.format(word)) == address.format("[SECRET]") for word in ("Xk29vR", "password")]
    [True, False]
    """
    if "PRIVATE KEY" in text or "://" in text or LONG_RUN.search(text):
        return mask(text, find_secrets, "[SECRET]")
    return text


def find_secrets(text: str) -> Iterator[tuple[int, int]]:
    spans = sorted([*_private_keys(text), *_passwords(text), *_tokens(text)])
    end = 0
    for start, stop in spans:
        if start >= end:
            yield start, stop
            end = stop


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    if "PRIVATE KEY" in text:
        for match in PRIVATE_KEY.finditer(text):
            if not FILLED.search(match["body"]):
                yield match.span()


def _passwords(text: str) -> Iterator[tuple[int, int]]:
    if "://" in text and "@" in text:
        for match in URL_PASSWORD.finditer(text):
            if not PLACEHOLDER.fullmatch(match["password"]) and not OWN_HOST.fullmatch(match["host"]):
                yield match.span("password")


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    if not LONG_RUN.search(text):
        return
    for match in provider_tokens().finditer(text):
        if not FILLED.search(match[0]):
            yield match.span()
    for match in NAMED.finditer(text):
        group = "aws" if match["aws"] else "header"
        if not FILLED.search(match[group]):
            yield match.span(group)
