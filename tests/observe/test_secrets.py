from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.observe.secrets import HIDDEN, known_secrets, names_secret, without, without_in_arguments, without_in_document


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "--db-password",
        "apiKey",
        "services.x.env.PGPASSWD",
        "API_KEY",
        "OPENAI_API_KEY",
        "key",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name", ["PWD", "keyboard", "n_tokens", "passes", "author", "publish_every", "monkey", "keys", "placement", "PATH"]
)
def test_names_of_no_secrets(name: str) -> None:
    assert not names_secret(name)


def test_only_secret_variables_are_secrets() -> None:
    environment = {
        "DB_PASSWORD": "hunter2hunter2",
        "AUTH": "yes",
        "TOKEN": "123456789",
        "LANG": "C.UTF-8",
        "SSH_AUTH_SOCK": "/tmp/agent.1",
    }
    assert known_secrets(environment) == ("hunter2hunter2",)


def test_secrets_are_known_as_they_are_written_elsewhere() -> None:
    known = known_secrets({"PASSWORD": 'a"b<c>&/é'})
    for text in ('a"b<c>&/é', '{"x": "a\\"b<c>&/\\u00e9"}', "<b>a&quot;b&lt;c&gt;&amp;/é</b>", "?x=a%22b%3Cc%3E%26%2F%C3%A9"):
        assert HIDDEN in without(text, known)


def test_of_two_secrets_the_longer_is_hidden_first() -> None:
    secrets = known_secrets({"A_TOKEN": "abcdef", "B_TOKEN": "abcdefgh"})
    assert without("abcdefgh abcdef", secrets) == f"{HIDDEN} {HIDDEN}"


def test_arguments() -> None:
    given = [
        "estran",
        "run",
        "--password",
        "swordfish",
        "--set",
        "services.a.env.API_KEY=topsecret",
        "--token=abcdef1",
        "--set",
        "rate=10",
    ]
    assert without_in_arguments(given, ["zzzzzz"]) == [
        "estran", "run", "--password", HIDDEN, "--set", f"services.a.env.API_KEY={HIDDEN}", f"--token={HIDDEN}", "--set", "rate=10",
    ]  # fmt: skip
    assert without_in_arguments(["--url", "https://me:pw@example.org/x"], []) == ["--url", f"https://{HIDDEN}@example.org/x"]


def test_documents_keep_their_shape() -> None:
    document = {"env": {"TOKEN": "abcdefghij", "MODE": "fast"}, "list": ["xabcdefx", 3, None], "pass": 3}
    assert without_in_document(document, ["abcdef"]) == {
        "env": {"TOKEN": HIDDEN, "MODE": "fast"},
        "list": [f"x{HIDDEN}x", 3, None],
        "pass": 3,
    }


@given(st.text(min_size=6).filter(lambda text: text not in HIDDEN), st.text(), st.text())
def test_a_known_secret_never_stays_whole(secret: str, before: str, after: str) -> None:
    found = without(before + secret + after, [secret])
    assert secret not in found.replace(HIDDEN, "\0" * len(secret)) or secret in HIDDEN
