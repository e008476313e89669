/* Looks at files by rarely used calls. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

int main(void)
{
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
	struct statx stx;
	struct statfs fs;
	int fd = open("d", O_PATH | O_DIRECTORY);
	statx(AT_FDCWD, "d/b.txt", 0, STATX_ALL, &stx);
	faccessat(AT_FDCWD, "d/c.txt", R_OK, AT_EACCESS);
	getxattr("d/real/a.txt", "user.x", NULL, 0);
	lgetxattr("d/link", "user.x", NULL, 0);
	statfs("d/sub", &fs);
	syscall(SYS_openat2, fd, "e.txt", &how, sizeof how);
	return 0;
}
