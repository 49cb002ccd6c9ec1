"""TLS: the standard library's protocol, with a single frame where data comes and one where it goes.

All else is inherited: handshakes, shutdowns, flow control, and whatever is not as it mostly is.
"""

import sys
from asyncio import sslproto

protocol_class = sslproto.SSLProtocol

# Before 3.11 that is another one, and what it is later is not known yet.
if (3, 11) <= sys.version_info < (3, 14):
    _WRAPPED = sslproto.SSLProtocolState.WRAPPED
    _AGAIN = sslproto.SSLAgainErrors
    # What a record holds at most, in bytes.
    _RECORD = 16384

    class _SSLTransport(sslproto._SSLProtocolTransport):
        """What a program writes to."""

        def write(self, data):
            """Write data, which is sent as far as the socket takes it."""
            tls = self._ssl_protocol
            if (
                type(data) is not bytes
                or not data
                or tls is None
                or tls._state is not _WRAPPED
                or tls._write_backlog
                or tls._ssl_writing_paused
                # Perhaps the program's protocol is to be told of something.
                or tls._app_writing_paused
                or not tls._outgoing_high_water
            ):
                super().write(data)
                return
            try:
                try:
                    count = tls._native.write(data)
                except _AGAIN:
                    count = 0
                if count == len(data):
                    tls._transport.write(tls._outgoing.read())
                    return
            except Exception as error:
                tls._fatal_error(error, "Fatal error on SSL protocol")
                return
            # A record holds no more.
            tls._write_appdata((memoryview(data)[count:],))

    class _SSLProtocol(sslproto.SSLProtocol):
        """What stands between the transport of a socket and the program's protocol."""

        #: Has the native transport call data_received(), though this is a BufferedProtocol.
        _takes_bytes = True

        #: What the methods of the SSLObject call.
        _native = None

        def __init__(self, *args, **kwargs):
            # The buffer, which is made when somebody asks for it.
            self.max_size = 0
            super().__init__(*args, **kwargs)
            del self.max_size

        def _get_app_transport(self):
            if self._app_transport is None and not self._app_transport_created:
                self._app_transport = _SSLTransport(self._loop, self)
                self._app_transport_created = True
            return super()._get_app_transport()

        def _set_state(self, new_state):
            super()._set_state(new_state)
            if new_state is _WRAPPED:
                self._native = _native_of(self._sslobj)

        def data_received(self, data):
            """Receive what buffer_updated() would find in the buffer."""
            incoming = self._incoming
            incoming.write(data)
            if (
                self._state is not _WRAPPED
                or self._app_reading_paused
                or self._app_protocol_is_buffer
            ):
                self.buffer_updated(0)
                return
            try:
                # Room for more costs more. There is none as long as a record is not filled.
                room = len(data)
                if room > _RECORD:
                    room = _RECORD
                try:
                    chunk = self._native.read(room)
                except _AGAIN:
                    pass
                else:
                    if chunk and len(chunk) < room and not incoming.pending:
                        # To ask for more would be answered by an exception.
                        self._app_protocol.data_received(chunk)
                    else:
                        self._read_on(chunk)
                if self._write_backlog:
                    self._do_write()
                elif (
                    self._outgoing.pending
                    or self._app_writing_paused
                    or not self._outgoing_high_water
                ):
                    self._process_outgoing()
                if incoming.pending or self._ssl_reading_paused or not self._incoming_high_water:
                    self._control_ssl_reading()
            except Exception as error:
                self._fatal_error(error, "Fatal error on SSL protocol")

        def _read_on(self, chunk):
            chunks = []
            try:
                while chunk:
                    chunks.append(chunk)
                    chunk = self._native.read(_RECORD)
            except _AGAIN:
                pass
            if chunks:
                self._app_protocol.data_received(b"".join(chunks))
            if not chunk:
                # The other side has said that it closes.
                self._call_eof_received()
                self._start_shutdown()

    _Object = sslproto.ssl.SSLObject
    _METHODS = (_Object.read, _Object.write)

    protocol_class = _SSLProtocol

    def _native_of(sslobj):
        if type(sslobj) is _Object and (_Object.read, _Object.write) == _METHODS:
            return sslobj._sslobj
        # One of the program's has methods of its own.
        return sslobj

    def adopt(transport):
        """Have a transport that start_tls() has made be one of ours."""
        if type(transport) is not sslproto._SSLProtocolTransport:
            return
        tls = transport._ssl_protocol
        if type(tls) is not sslproto.SSLProtocol or tls._state is not _WRAPPED:
            return
        lower = tls._transport
        if lower is None or lower.get_protocol() is not tls:
            return
        transport.__class__ = _SSLTransport
        tls.__class__ = _SSLProtocol
        tls._native = _native_of(tls._sslobj)
        lower.set_protocol(tls)
        # Who needs it makes another.
        tls._ssl_buffer = bytearray()
        tls._ssl_buffer_view = memoryview(tls._ssl_buffer)

else:

    def adopt(transport):
        """Leave a transport that start_tls() has made as it is."""


def tells_of_connection(protocol):
    """Whether the running code was called by a protocol of TLS to be told of the connection."""
    made = getattr(protocol, "_on_handshake_complete", None)
    frame = sys._getframe()
    while made is not None and frame is not None:
        caller = frame.f_back
        if (
            frame.f_code.co_name == "connection_made"
            and caller is not None
            and caller.f_code is made.__code__
            and caller.f_locals.get("self") is protocol
        ):
            return True
        frame = caller
    return False
