"""Signatures, by vectors that were made with other programs than ours."""

from urllib.parse import quote_plus

import pytest

from fpm_listener.delivery.receivers import dingtalk, feishu, webhook
from fpm_listener.delivery.receivers.secrets import BadFileError


def test_standard_webhooks() -> None:
    """The vector was made with the reference library standardwebhooks 1.1.0."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"type":"x"}'

    signature = webhook.sign(secret, "msg_1", "1700000000", body)

    assert signature == "v1,kwpUgH75G850+Q91OQR7mAyiORqzc1AmYgye9IOnAnw="


@pytest.mark.parametrize(
    "secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_not base64!"]
)
def test_an_invalid_secret_of_standard_webhooks(secret: str) -> None:
    """The error does not show it."""
    with pytest.raises(BadFileError, match="whsec_ and base64") as caught:
        webhook.sign(secret, "msg_1", "1700000000", b"")
    assert "base64!" not in str(caught.value)


def test_dingtalk() -> None:
    """The secret is the key; the message is time and secret; in the URL."""
    signature = dingtalk.sign("SECtest", 1700000000000)

    assert quote_plus(signature) == "aZLLrriXgn05YbwaGR7knYsLeJADjr9NwLaNNKpxh4g%3D"


def test_feishu() -> None:
    """Time and secret are the key; the message is empty, unlike DingTalk's."""
    assert feishu.sign("SECtest", 1700000000) == "G7XpBpG8NgG02fJOAhX6FRAObIljmFoxVReo8I62pEk="
