/* Tells what any thread opens or executes on the file systems of the directories that are named.
 *
 * fanotify DIRECTORY...: prints "ready" and a newline, and for each event "TID PATH" and a NUL,
 * until standard input ends. What the kernel opens by itself (loaders, interpreters) is among it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void tell(const struct fanotify_event_metadata *event)
{
	char link[64], path[4096];
	ssize_t size;

	if (event->mask & FAN_Q_OVERFLOW)
		fail("events were lost");
	snprintf(link, sizeof link, "/proc/self/fd/%d", event->fd);
	size = readlink(link, path, sizeof path);
	if (size >= 0)
		printf("%d %.*s%c", event->pid, (int)size, path, 0);
	else if (errno != ENAMETOOLONG) /* so deep that no path leads there */
		fail(link);
	close(event->fd);
}

/* Tell of all events that wait. */
static void drain(int queue)
{
	static char buffer[1 << 20] __attribute__((aligned(8)));
	ssize_t size;

	while ((size = read(queue, buffer, sizeof buffer)) > 0) {
		const struct fanotify_event_metadata *event = (const void *)buffer;
		for (; FAN_EVENT_OK(event, size); event = FAN_EVENT_NEXT(event, size))
			tell(event);
	}
	if (size < 0 && errno != EAGAIN)
		fail("read");
}

int main(int count, char **directories)
{
	unsigned flags = FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_REPORT_TID;
	int queue = fanotify_init(flags, O_RDONLY | O_LARGEFILE | O_CLOEXEC);
	struct pollfd either[] = {{queue, POLLIN, 0}, {0, POLLIN, 0}};

	if (queue < 0)
		fail("fanotify_init");
	for (int number = 1; number < count; number++)
		if (fanotify_mark(queue, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
				  FAN_OPEN | FAN_OPEN_EXEC | FAN_ONDIR, AT_FDCWD, directories[number]))
			fail(directories[number]);
	puts("ready");
	fflush(stdout);
	while (!either[1].revents) {
		poll(either, 2, -1);
		drain(queue);
	}
	drain(queue);
	return 0;
}
