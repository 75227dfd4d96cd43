"""Pretrained weights from Hugging Face's hub, where a machine without a network is told at once."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds for the hub's first word; a proxy's round trip takes less.
WAIT = 5.0


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """While it lasts, a hub that cannot be reached is not asked again and again (its client tries
    for most of a minute): weights come from its cache on this machine, or the call fails at once.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    """Whether anybody answers at an address, whatever they say."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=WAIT)
    except urllib.error.HTTPError:
        return True
    except OSError as error:
        # this machine's certificates may lack what the hub's client brings along
        return isinstance(getattr(error, "reason", error), ssl.SSLError)
    return True


def fetch_failure(error: Exception) -> str:
    """Why weights did not come, in words: no network, else what the client said."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError"}:
        return "the hub cannot be reached, and no copy is on this machine"
    return str(error).partition("\n")[0] or type(error).__name__
