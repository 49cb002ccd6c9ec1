"""Transports whose receiving and sending is native; the rest is the standard library's."""

from asyncio import get_running_loop, selector_events, transports

from eventlet_asyncio._evio import (
    Datagram,
    DatagramCore,
    Stream,
    StreamCore,
    can_datagram,
    open_stream,  # noqa: F401
    write_method,
)


class SocketTransport(StreamCore, selector_events._SelectorSocketTransport):
    """A transport of a stream socket."""

    __slots__ = ("_stream",)

    # asyncio has them in each instance.
    _protocol_connected = True
    _protocol_paused = False
    _high_water = 64 * 1024
    _low_water = 16 * 1024
    _read_ready_cb = None

    def __new__(cls, *args, **kwargs):
        self = object.__new__(cls)
        self._stream = Stream()
        return self

    def __init__(self, loop, sock, protocol, waiter=None, extra=None, server=None):
        self._begin(loop, sock, protocol, waiter, extra, server)

    def _lose_with_waiter(self, exc):
        # Who sends a file may have been told already.
        if self._empty_waiter.done():
            self._empty_waiter = None
        # That may still wait for room, by a number that is another socket's soon.
        self._loop._remove_writer(self._sock_fd)
        selector_events._SelectorSocketTransport._call_connection_lost(self, exc)

    def _fail(self, error, message):
        # For the logger, the exception must be one that is being handled.
        try:
            raise error
        except BaseException:
            if self._loop is None:
                # The connection was lost while the protocol's method blocked greenly.
                context = {"message": message, "exception": error, "transport": self}
                get_running_loop().call_exception_handler(context)
            else:
                self._fatal_error(error, message)
        finally:
            error = None


SocketTransport.write = write_method(SocketTransport)


class DatagramTransport(
    # asyncio's own is a DatagramTransport from Python 3.12 on only.
    DatagramCore, selector_events._SelectorDatagramTransport, transports.DatagramTransport
):
    """A transport of a datagram socket."""

    __slots__ = ("_datagram",)

    def __new__(cls, *args, **kwargs):
        self = object.__new__(cls)
        self._datagram = Datagram()
        return self

    def _send_later(self, data, addr):
        selector_events._SelectorDatagramTransport.sendto(self, data, addr)

    def _tell(self, error):
        try:
            raise error
        except OSError:
            self._protocol.error_received(error)
        finally:
            error = None
