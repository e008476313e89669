/* Everything that a run may make, change, move and remove. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void put(int fd)
{
	write(fd, "new\n", 4);
	close(fd);
}

int main(void)
{
	struct sockaddr_un address = {AF_UNIX, "o/socket"};
	char name[64], random[] = "o/XXXXXX";
	int fd;
	access("o/created", F_OK);
	put(open("o/created", O_CREAT | O_WRONLY, 0644));
	close(open("o/created", O_RDONLY));
	put(open("o/changed", O_RDWR));
	open("o/unchanged", O_RDWR);
	put(open("o/step", O_CREAT | O_EXCL | O_WRONLY, 0644));
	rename("o/step", "o/renamed");
	mkdir("o/dir", 0755);
	access("o/dir/nothing", F_OK);
	put(open("o/dir/file", O_CREAT | O_WRONLY, 0644));
	symlink("target", "o/symlink");
	link("o/created", "o/link");
	mknod("o/fifo", S_IFIFO | 0644, 0);
	bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address);
	fd = open("o", O_TMPFILE | O_RDWR, 0600);
	sprintf(name, "/proc/self/fd/%d", fd);
	linkat(AT_FDCWD, name, AT_FDCWD, "o/tmpfile", AT_SYMLINK_FOLLOW);
	put(mkstemp(random));
	unlink(random);
	unlink("o/removed");
	open("/dev/null", O_RDWR);
	return 0;
}
