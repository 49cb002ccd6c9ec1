"""The work of the rows of the hub: each function measures one thing and checks what it did.

`green` is what `green.load()` gives; it may be any contender's.
"""

import gc
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

import greenlet

from harness import Meter, Sample, check, parse_strace, resident

KILOBYTE = os.urandom(512).hex().encode()


def together(green, function, arguments):
    """Runs a function in a green thread for each argument, to the end."""
    for thread in [green.spawn(function, argument) for argument in arguments]:
        green.wait(thread)


# Switching.


def yields(green, size, threads):
    sleep = green.sleep
    counts = [0] * threads
    each = max(size // threads, 1)

    def run(index):
        for _ in range(each):
            sleep(0)
            counts[index] += 1

    with Meter() as meter:
        together(green, run, range(threads))
    check(counts, [each] * threads)
    return meter.per(each * threads)


def spawns(green, size):
    spawn, wait = green.spawn, green.wait

    def same(number):
        return number

    total = 0
    with Meter() as meter:
        for number in range(size):
            total += wait(spawn(same, number))
    check(total, size * (size - 1) // 2)
    return meter.per(size)


def timeouts(green, size):
    Timeout = green.Timeout
    entered = 0
    with Meter() as meter:
        for _ in range(size):
            with Timeout(60):
                entered += 1
    check(entered, size)
    return meter.per(size)


def wakes(green, size, ends):
    """Wakes sleepers that are all due at once; each then ends, or goes back to the hub for good."""
    sleep = green.sleep
    woken = 0

    def sleeper():
        nonlocal woken
        sleep(due - time.monotonic())
        woken += 1
        if not ends:
            greenlet.getcurrent().parent.switch()

    start = time.monotonic()
    for _ in range(size):
        green.spawn(sleeper)
    # To run each until it sleeps takes about as long as to make it, on a machine that may be busy.
    due = time.monotonic() + 1 + 4 * (time.monotonic() - start)
    sleep(0)
    # They fall due while nobody looks.
    if time.monotonic() > due:
        raise SystemExit("the machine was too busy to make so many sleepers in time")
    time.sleep(due + 0.1 - time.monotonic())
    check(woken, 0)
    with Meter() as meter:
        while woken < size:
            sleep(0)
    return meter.per(size)


# Handing over.


def events(green, size):
    """Two green threads send each other an event in turn; an operation is one send and its wait."""
    Event, send, receive = green.Event, green.send, green.receive
    box = [Event(), Event()]
    seen = [0, 0]

    def player(me):
        for number in range(size // 2):
            if me or number:
                seen[me] += receive(box[me])
                box[me] = Event()
            send(box[1 - me], 1)

    with Meter() as meter:
        together(green, player, (0, 1))
    check(seen, [size // 2 - 1, size // 2])
    return meter.per(size)


def queues(green, size):
    """Two green threads hand an item to and fro; an operation is one put and its get."""
    boxes = [green.Queue(), green.Queue()]
    seen = [0, 0]

    def player(me):
        get, put = boxes[me].get, boxes[1 - me].put
        for _ in range(size // 2):
            seen[me] += get()
            put(1)

    boxes[0].put(1)
    with Meter() as meter:
        together(green, player, (0, 1))
    check(seen, [size // 2, size // 2])
    return meter.per(size // 2 * 2)


def semaphores(green, size):
    """Two green threads let each other through; an operation is one release and its acquire."""
    gates = [green.Semaphore(1), green.Semaphore(0)]
    seen = [0, 0]

    def player(me):
        acquire, release = gates[me].acquire, gates[1 - me].release
        for _ in range(size // 2):
            acquire()
            seen[me] += 1
            release()

    with Meter() as meter:
        together(green, player, (0, 1))
    check(seen, [size // 2, size // 2])
    return meter.per(size // 2 * 2)


# Descriptors.


def waits(green, size):
    """Two green threads wait for a descriptor in turn and write to the other's."""
    ends = socket.socketpair()
    seen = [0, 0]

    def player(me):
        wait_readable, end = green.wait_readable, ends[me]
        fd = end.fileno()
        for _ in range(size // 2):
            wait_readable(fd)
            seen[me] += len(os.read(fd, 16))
            os.write(fd, b"x")

    ends[1].send(b"x")
    with Meter() as meter:
        together(green, player, (0, 1))
    check(seen, [size // 2, size // 2])
    return meter.per(size // 2 * 2)


def serve_echo(green, listener):
    def echo(peer):
        while data := peer.recv(65536):
            peer.sendall(data)
        peer.close()

    while True:
        peer, _ = listener.accept()
        green.spawn(echo, peer)


def listen(green):
    listener = green.socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


def connect(green, listener):
    client = green.socket.socket()
    client.connect(listener.getsockname())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def echo(green, size, connections):
    listener = listen(green)
    green.spawn(serve_echo, green, listener)
    clients = [connect(green, listener) for _ in range(connections)]
    each = max(size // connections, 1)
    whole = 0

    def talk(client):
        nonlocal whole
        for _ in range(each):
            client.sendall(KILOBYTE)
            answer = client.recv(65536)
            while len(answer) < len(KILOBYTE):
                answer += client.recv(65536)
            whole += answer == KILOBYTE

    with Meter() as meter:
        together(green, talk, clients)
    check(whole, each * connections)
    return meter.per(whole)


def accepts(green, size):
    """Connections made, accepted, closed by the server, and seen closed by the client."""
    listener = listen(green)
    closed = 0

    def serve():
        for _ in range(size):
            peer, _ = listener.accept()
            peer.close()

    green.spawn(serve)
    with Meter() as meter:
        for _ in range(size):
            client = green.socket.socket()
            client.connect(listener.getsockname())
            closed += client.recv(1) == b""
            client.close()
    check(closed, size)
    return meter.per(size)


def holder(port, count):
    """A process that keeps many connections open and does nothing with them."""
    kept = []
    for _ in range(count):
        kept.append(socket.create_connection(("127.0.0.1", port)))
    print("connected", flush=True)
    time.sleep(3600)


def echo_beside_idle(green, size, idle):
    """An echo beside connections on which green threads wait, their far ends elsewhere."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
    # Some descriptors are for the echo and for Python.
    idle = min(idle, room - 400)
    listener = listen(green)
    port = listener.getsockname()[1]
    command = [sys.executable, "-c", f"import work; work.holder({port}, {idle})"]
    helper = subprocess.Popen(command, cwd=os.path.dirname(__file__), stdout=subprocess.PIPE)
    try:
        waiting = []
        for _ in range(idle):
            peer, _ = listener.accept()
            waiting.append(green.spawn(peer.recv, 1))
        helper.stdout.readline()
        green.sleep(0)
        gc.collect()
        sample = echo(green, size, 50)
        check(sum(thread.dead for thread in waiting), 0)
    finally:
        helper.kill()
    sample.figures["idle connections"] = idle
    return sample


# Waiting.


def idle(green, size):
    """Processor time in microseconds a second, with many green threads asleep."""
    seconds = 2
    for _ in range(size):
        green.spawn(green.sleep, 3600)
    green.sleep(0.5)
    before = resource.getrusage(resource.RUSAGE_SELF)
    green.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    switches = after.ru_nvcsw - before.ru_nvcsw
    figures = {"waits in the kernel a second": switches / seconds}
    return Sample(cpu * 1e6 / seconds, figures=figures)


def memory_asleep(green, size):
    gc.collect()
    before = resident()
    for _ in range(size):
        green.spawn(green.sleep, 3600)
    green.sleep(0.2)
    gc.collect()
    return Sample((resident() - before) / size)


def memory_reading(green, size):
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
    pairs = [socket.socketpair() for _ in range(size)]
    near = [green.socket.socket(fileno=one.detach()) for one, _ in pairs]
    gc.collect()
    before = resident()
    for each in near:
        green.spawn(each.recv, 1)
    green.sleep(0.2)
    gc.collect()
    sample = Sample((resident() - before) / size)
    woken = []
    for _, far in pairs:
        far.close()
    together(green, woken.append, range(10))
    check(len(woken), 10)
    return sample


# A server in a process of its own.


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "12")])
    return [b"Hello, world"]


def processor_time(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1e6


def wrk(port, seconds):
    """Requests that the load generator has made, and microseconds."""
    url = f"http://127.0.0.1:{port}/"
    command = ["wrk", "-t1", "-c50", f"-d{seconds}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"wrong result: {said.strip()!r}")
    requests, clock = re.search(r"(\d+) requests in ([0-9.]+)s", said).groups()
    return int(requests), float(clock) * 1e6


def wsgi(green, size, contender):
    return under_wrk(f"import work; work.serve({contender!r})", size)


def under_wrk(program, size):
    """Requests to a server that prints its port, for so many seconds."""
    command = [sys.executable, "-c", program]
    here = os.path.dirname(os.path.abspath(__file__))
    server = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True)
    # The generator has the other processors.
    (mine,) = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(range(os.cpu_count())) - {mine} or {mine})
    try:
        port = int(server.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        check(answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"Hello, world"), True)
        wrk(port, 1)
        before = processor_time(server.pid)
        requests, clock = wrk(port, size)
        cpu = processor_time(server.pid) - before
        figures = {"requests a second": requests / clock * 1e6}
        figures["system calls"] = calls_of(server.pid, port)
    finally:
        server.kill()
    return Sample(cpu / requests, clock / requests, figures)


def serve(contender):
    import green

    green.load(contender).serve(application)


def calls_of(pid, port):
    """System calls a request, while strace watches the server."""
    with tempfile.NamedTemporaryFile("r", prefix="strace") as summary:
        try:
            command = ["strace", "-f", "-c", "-o", summary.name, "-p", str(pid)]
            strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            return float("nan")
        # It says when it is attached.
        strace.stderr.readline()
        requests, _ = wrk(port, 1)
        strace.send_signal(signal.SIGINT)
        strace.wait()
        return sum(parse_strace(summary.read()).values()) / requests
