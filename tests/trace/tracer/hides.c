/* Does what strace cannot follow; the argument says what. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static int nothing(void *unused)
{
	return 0;
}

static int handle(void)
{
	struct file_handle *found = malloc(sizeof *found + 128);
	int mount;
	found->handle_bytes = 128;
	name_to_handle_at(AT_FDCWD, "d/b.txt", found, &mount, 0);
	return open_by_handle_at(open(".", O_RDONLY), found, O_RDONLY) < 0;
}

static int untraced(void)
{
	char *stack = malloc(65536);
	return waitpid(clone(nothing, stack + 65536, CLONE_UNTRACED | SIGCHLD, NULL), NULL, 0) < 0;
}

int main(int argc, char **argv)
{
	if (!strcmp(argv[1], "chroot"))
		return chroot("d");
	if (!strcmp(argv[1], "namespace"))
		return unshare(CLONE_NEWNS);
	if (!strcmp(argv[1], "untraced"))
		return untraced();
	return handle();
}
