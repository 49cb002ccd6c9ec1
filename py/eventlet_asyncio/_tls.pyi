"""TLS: the standard library's protocol, with a single frame where data comes and one where it goes. Private."""

from typing import Any

protocol_class: type[Any]

def adopt(transport: Any) -> None:
    """Have a transport that start_tls() has made be one of ours, where ours are known."""

def tells_of_connection(protocol: Any) -> bool:
    """Whether the running code was called by that protocol of TLS to be told of the connection."""
