/* Echoes between the two ends of TCP connections in one process, on epoll:
 *
 *     echo CONNECTIONS ROUNDS LENGTH [PORT]
 *
 * prints microseconds of processor, microseconds by the clock, and the number of echoes. With PORT
 * the server is another process, and the clients send once standard input has a line. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SCRATCH (256 * 1024)

struct end {
    int fd;
    int is_client;
    long rounds;
    size_t missing;   /* of the message that a client waits for */
    char *queue;      /* what the socket did not take */
    size_t queued;
    size_t room;
};

static int poller;
static char *message;
static size_t length;
static long echoes;
static long unfinished;
static char scratch[SCRATCH];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct end *end, int operation, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = end};
    if (epoll_ctl(poller, operation, end->fd, &event))
        fail("epoll_ctl");
}

static size_t send_some(struct end *end, const char *data, size_t size) {
    ssize_t sent = send(end->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        fail("send");
    return sent < 0 ? 0 : (size_t)sent;
}

static void put(struct end *end, const char *data, size_t size) {
    size_t sent = end->queued ? 0 : send_some(end, data, size);
    if (sent == size)
        return;
    if (end->queued + size - sent > end->room) {
        end->room = 2 * (end->queued + size);
        if (!(end->queue = realloc(end->queue, end->room)))
            fail("realloc");
    }
    memcpy(end->queue + end->queued, data + sent, size - sent);
    if (!end->queued)
        watch(end, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    end->queued += size - sent;
}

static void writable(struct end *end) {
    size_t sent = send_some(end, end->queue, end->queued);
    end->queued -= sent;
    memmove(end->queue, end->queue + sent, end->queued);
    if (!end->queued)
        watch(end, EPOLL_CTL_MOD, EPOLLIN);
}

static void readable(struct end *end) {
    ssize_t size = recv(end->fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (size <= 0) {
        if (size < 0 && errno == EAGAIN)
            return;
        fail("recv");
    }
    if (!end->is_client) {
        put(end, scratch, (size_t)size);
        return;
    }
    size_t from = length - end->missing;
    if (end->rounds == 1 && memcmp(message + from, scratch, (size_t)size)) {
        fprintf(stderr, "wrong echo\n");
        exit(1);
    }
    end->missing -= (size_t)size;
    if (end->missing)
        return;
    end->missing = length;
    echoes++;
    if (--end->rounds)
        put(end, message, length);
    else
        unfinished--;
}

static double microseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void add(int fd, int is_client, long rounds, struct end **added) {
    int on = 1;
    struct end *end = calloc(1, sizeof *end);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *end = (struct end){.fd = fd, .is_client = is_client, .rounds = rounds, .missing = length};
    watch(end, EPOLL_CTL_ADD, EPOLLIN);
    if (added)
        *added = end;
}

int main(int count, char **words) {
    if (count != 4 && count != 5)
        return 2;
    long connections = atol(words[1]), rounds = atol(words[2]);
    length = strtoul(words[3], NULL, 10);
    message = malloc(length);
    for (size_t at = 0; at < length; at++)
        message[at] = (char)rand();
    if ((poller = epoll_create1(0)) < 0)
        fail("epoll_create1");
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (count == 5)
        address.sin_port = htons((unsigned short)atoi(words[4]));
    else if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128))
        fail("listen");
    if (count == 4)
        getsockname(listener, (struct sockaddr *)&address, &size);
    struct end **clients = calloc((size_t)connections, sizeof *clients);
    for (long at = 0; at < connections; at++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        add(client, 1, rounds, &clients[at]);
        if (count == 4)
            add(accept(listener, NULL, NULL), 0, 0, NULL);
    }
    if (count == 5)
        getchar();
    double cpu = microseconds(CLOCK_PROCESS_CPUTIME_ID), clock = microseconds(CLOCK_MONOTONIC);
    unfinished = connections;
    for (long at = 0; at < connections; at++)
        put(clients[at], message, length);
    while (unfinished) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int at = 0; at < ready; at++) {
            struct end *end = events[at].data.ptr;
            if (events[at].events & EPOLLIN)
                readable(end);
            if (events[at].events & EPOLLOUT && end->queued)
                writable(end);
        }
    }
    printf("%.3f %.3f %ld\n", microseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
           microseconds(CLOCK_MONOTONIC) - clock, echoes);
    return 0;
}
