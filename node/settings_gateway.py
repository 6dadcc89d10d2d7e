"""The settings of a node that are about its etcd gateway; handed on to it by gateway.py.

Part of the schema in settings.py. What the URLs may be is checked here as far as it can be without
the gateway, which checks the rest.
"""

from dataclasses import dataclass
from pathlib import Path

from metastore.node.setting import setting
from metastore.node.settings_values import parse_flag, parse_path_or_nothing
from metastore.transport.errors import BadAddress
from metastore.transport.urls import parse_url

URLS_MAX = 16


def parse_urls(value: object) -> tuple[str, ...]:
    """A text with commas, or a list of such texts; HOST:PORT is http. Raises ValueError."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("URLs like http://HOST:PORT")
    parts = [part.strip() for text in texts for part in text.split(",")]
    found = tuple(dict.fromkeys(_parse_url(part) for part in parts if part))
    if len(found) > URLS_MAX:
        raise ValueError(f"at most {URLS_MAX} URLs")
    return found


def _parse_url(text: str) -> str:
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parse_url(url)
    except BadAddress as error:
        expected = "URLs like http://HOST:PORT or https://HOST:PORT"
        raise ValueError(f"{expected} ({error})") from None
    return url


def parse_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


@dataclass(frozen=True, kw_only=True)
class EtcdSettings:
    """`etcd` empty: no gateway."""

    etcd: tuple[str, ...] = setting(
        parse_urls,
        "Where etcd's clients reach this node, each http://HOST:PORT or https://HOST:PORT: starts "
        "the gateway that serves them, and keeps it running. Needs the extra `[etcd]`.",
        "A taken port: the gateway says so and is started again and again; the node works on.",
        (),
        item="URL",
    )
    etcd_advertise: tuple[str, ...] = setting(
        parse_urls,
        "The URLs that etcd's clients are told when they ask for the members. Default: `etcd`, "
        "with the host of `client_advertise` where that says every interface.",
        "A wrong one: clients that asked for the members go where nobody answers.",
        (),
        item="URL",
    )
    etcd_metrics: tuple[str, ...] = setting(
        parse_urls,
        "Where the gateway serves /metrics and /health beside that.",
        "As `etcd`.",
        (),
        item="URL",
    )
    etcd_cert_file: Path | None = setting(  # noqa: RUF009 - returns a field
        parse_path_or_nothing,
        "Certificate of the gateway, for https; read again when it changes.",
        "One that clients do not trust: they do not connect.",
        None,
    )
    etcd_key_file: Path | None = setting(  # noqa: RUF009 - returns a field
        parse_path_or_nothing, "The private key of that certificate.", "As `etcd_cert_file`.", None
    )
    etcd_trusted_ca_file: Path | None = setting(  # noqa: RUF009 - returns a field
        parse_path_or_nothing,
        "Certificates that those of clients must come from.",
        "A wrong one lets in nobody, or strangers.",
        None,
    )
    etcd_client_cert_auth: bool = setting(
        parse_flag,
        "Take only clients with such a certificate; its common name is the user.",
        "False: whoever reaches the port may ask.",
        False,
    )
    etcd_auth_token: str = setting(
        parse_text,
        "Tokens of etcd's users: `simple`, or `jwt,pub-key=FILE,priv-key=FILE,sign-method=NAME`.",
        "Different on the nodes: a token of one is refused by the others.",
        "simple",
    )
