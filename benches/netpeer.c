// The other end of network benchmarks and soaks, static, for containers of any engine.
//
//   serve PORT              echoes what each connection sends, until it's killed; any number of connections
//   connect ADDR PORT N     N connections one after another: min, median, 95th percentile, in microseconds
//   hold ADDR PORT N        N connections at once, each with words of its own that must come back
//   dns ADDR NAME N         N questions one after another, in the same figures; then the rate with 64 in flight, for a second
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 60000
#define IN_FLIGHT 64

static void die(const char *what)
{
	fprintf(stderr, "netpeer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void figures(double *took, int count)
{
	qsort(took, count, sizeof *took, compare);
	printf("%.1f %.1f %.1f\n", took[0], took[count / 2], took[count * 95 / 100]);
}

static struct sockaddr_in address(const char *text, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	if (inet_pton(AF_INET, text, &to.sin_addr) != 1) {
		errno = EINVAL;
		die(text);
	}
	return to;
}

// As many descriptors as the machine allows.
static void many(void)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void serve(const char *port)
{
	// Of both families.
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	int one = 1, listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
	many();
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 65535))
		die("listen");
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, ready[256];
	epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int count = epoll_wait(poll, ready, 256, -1);
		for (int i = 0; i < count; i++) {
			int fd = ready[i].data.fd;
			if (fd == listener) {
				while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
					event.data.fd = fd;
					epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
				}
				continue;
			}
			char buffer[4096];
			ssize_t got = read(fd, buffer, sizeof buffer);
			if (got > 0 ? write(fd, buffer, got) != got : !(got < 0 && errno == EAGAIN))
				close(fd);
		}
	}
}

static int reach(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	if (fd < 0)
		die("socket");
	if (connect(fd, (const struct sockaddr *)to, sizeof *to))
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

// Ends a connection at once: none is left in TIME_WAIT, whose ports would run out.
static void cut(int fd)
{
	struct linger linger = { 1, 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	close(fd);
}

static void connects(const struct sockaddr_in *to, int count)
{
	double *took = calloc(count, sizeof *took);
	for (int i = 0; i < 50; i++)
		cut(reach(to));
	for (int i = 0; i < count; i++) {
		double begin = now();
		int fd = reach(to);
		took[i] = now() - begin;
		cut(fd);
	}
	figures(took, count);
}

static void hold(const struct sockaddr_in *to, int count)
{
	static int fds[CONNECTIONS_MAX];
	int back = 0;
	many();
	if (count > CONNECTIONS_MAX)
		count = CONNECTIONS_MAX;
	for (int i = 0; i < count; i++)
		fds[i] = reach(to);
	for (int i = 0; i < count; i++) {
		uint64_t word = 0x6265727468000000ull + i;
		if (write(fds[i], &word, sizeof word) != sizeof word)
			die("write");
	}
	for (int i = 0; i < count; i++) {
		uint64_t word = 0;
		struct timeval limit = { 20, 0 };
		setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		if (recv(fds[i], &word, sizeof word, MSG_WAITALL) == sizeof word)
			back += word == 0x6265727468000000ull + i;
	}
	for (int i = 0; i < count; i++)
		cut(fds[i]);
	printf("%d of %d\n", back, count);
	exit(back != count);
}

static int question(unsigned char *bytes, const char *name, uint16_t id)
{
	unsigned char head[12] = { id >> 8, id & 255, 1, 0, 0, 1 };
	int at = 12;
	memcpy(bytes, head, 12);
	while (*name) {
		int length = strcspn(name, ".");
		bytes[at++] = length;
		memcpy(bytes + at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	memcpy(bytes + at, "\0\0\1\0\1", 5);
	return at + 5;
}

static void dns(const char *server, const char *name, int count)
{
	struct sockaddr_in to = address(server, "53");
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	unsigned char bytes[512], reply[4096];
	double *took = calloc(count, sizeof *took);
	struct timeval limit = { 2, 0 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&to, sizeof to))
		die("connect");
	for (int i = -50; i < count; i++) {
		int length = question(bytes, name, i);
		double begin = now();
		if (send(fd, bytes, length, 0) != length || recv(fd, reply, sizeof reply, 0) < 12 || !reply[7])
			die("no answer");
		if (i >= 0)
			took[i] = now() - begin;
	}
	figures(took, count);
	long answers = 0;
	double begin = now();
	for (int i = 0; i < IN_FLIGHT; i++)
		send(fd, bytes, question(bytes, name, i), 0);
	while (now() - begin < 1e6) {
		if (recv(fd, reply, sizeof reply, 0) < 12)
			die("no answer");
		answers++;
		send(fd, bytes, question(bytes, name, answers), 0);
	}
	printf("%.0f\n", answers / ((now() - begin) / 1e6));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	if (!strcmp(mode, "serve") && argc > 2)
		serve(argv[2]);
	if (argc < 5) {
		fprintf(stderr, "usage: netpeer serve PORT | connect ADDR PORT N | hold ADDR PORT N | dns ADDR NAME N\n");
		return 2;
	}
	struct sockaddr_in to = strcmp(mode, "dns") ? address(argv[2], argv[3]) : (struct sockaddr_in){ 0 };
	if (!strcmp(mode, "connect"))
		connects(&to, atoi(argv[4]));
	else if (!strcmp(mode, "hold"))
		hold(&to, atoi(argv[4]));
	else if (!strcmp(mode, "dns"))
		dns(argv[2], argv[3], atoi(argv[4]));
	return 0;
}
