/* Names that start from the working directory, by calls old and new. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct stat st;
	char text[100];
	DIR *directory;
	int fd;
	chdir("d");
	syscall(SYS_open, "b.txt", O_RDONLY);
	fd = open("link", O_RDONLY | O_DIRECTORY);
	fchdir(fd);
	access("../c.txt", R_OK);
	openat(fd, "l1", O_RDONLY);
	open("../sub/chain", O_RDONLY);
	readlink("l2", text, sizeof text);
	stat("nope/x", &st);
	directory = fdopendir(fd);
	while (readdir(directory))
		;
	return 0;
}
