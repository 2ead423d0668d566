/*
 * What the machine itself takes: an epoll loop that writes each event with one write(2) per connection and keeps nothing
 * about a connection but its descriptor. It is told what to do by lines on standard input, `<id> broadcast|send <count>`,
 * and answers each with `<id> <nanoseconds of the monotonic clock at its start>`. A socket that takes less than a whole
 * frame ends it: it keeps nothing back.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 1024

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                           "Connection: close\r\n\r\n";
static int *sockets;
static size_t opened, room, next_receiver;
static char frame[4096];
static size_t frame_length;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void write_frame(int socket) {
  if (write(socket, frame, frame_length) != (ssize_t)frame_length) fail("a socket took no whole frame");
}

static void accept_all(int epoll, int listener) {
  for (;;) {
    int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (socket < 0 && (errno == EAGAIN || errno == ECONNABORTED)) return;
    if (socket < 0) fail("accept");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) < 0) fail("epoll_ctl");
  }
}

/* A request comes in one piece over the loopback; whatever follows it, the end included, is of no interest. */
static void answer_request(int epoll, int socket) {
  char request[4096];
  ssize_t length = read(socket, request, sizeof request);
  if (epoll_ctl(epoll, EPOLL_CTL_DEL, socket, NULL) < 0) fail("epoll_ctl");
  if (length <= 0) {
    close(socket);
    return;
  }
  if (write(socket, HEAD, sizeof HEAD - 1) != (ssize_t)(sizeof HEAD - 1)) fail("write of a head");
  if (opened == room) {
    room = room == 0 ? 1024 : room * 2;
    sockets = realloc(sockets, room * sizeof *sockets);
    if (sockets == NULL) fail("realloc");
  }
  sockets[opened++] = socket;
}

static void obey(const char *line) {
  long id, count;
  char verb[16];
  if (sscanf(line, "%ld %15s %ld", &id, verb, &count) != 3) {
    fprintf(stderr, "not understood: %s\n", line);
    exit(1);
  }
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  for (long number = 0; number < count; number++) {
    if (strcmp(verb, "send") == 0) {
      write_frame(sockets[next_receiver++ % opened]);
      continue;
    }
    for (size_t at = 0; at < opened; at++) write_frame(sockets[at]);
  }
  printf("%ld %lld\n", id, (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
  fflush(stdout);
}

static void read_orders(void) {
  static char input[65536];
  static size_t length;
  ssize_t more = read(STDIN_FILENO, input + length, sizeof input - length - 1);
  if (more <= 0) exit(0);
  length += (size_t)more;
  input[length] = '\0';
  char *line = input;
  for (char *end = strchr(line, '\n'); end != NULL; line = end + 1, end = strchr(line, '\n')) {
    *end = '\0';
    obey(line);
  }
  length -= (size_t)(line - input);
  memmove(input, line, length);
}

/* The only argument is the text of the frame. */
int main(int argc, char **argv) {
  if (argc != 2 || strlen(argv[1]) >= sizeof frame) return 2;
  frame_length = strlen(argv[1]);
  memcpy(frame, argv[1], frame_length);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 4096) < 0) fail("listen");
  getsockname(listener, (struct sockaddr *)&address, &size);
  printf("listening on %d\n", ntohs(address.sin_port));
  fflush(stdout);

  int epoll = epoll_create1(0);
  struct epoll_event events[MAX_EVENTS] = {{.events = EPOLLIN, .data.fd = listener}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &events[0]) < 0) fail("epoll_ctl");
  events[0].data.fd = STDIN_FILENO;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &events[0]) < 0) fail("epoll_ctl");
  for (;;) {
    int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
    for (int at = 0; at < ready; at++) {
      int source = events[at].data.fd;
      if (source == listener) accept_all(epoll, listener);
      else if (source == STDIN_FILENO) read_orders();
      else answer_request(epoll, source);
    }
  }
}
