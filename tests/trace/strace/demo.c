/* What a log can hold: several processes and threads, working directories, odd names, failures. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void *reads(void *name)
{
	close(open(name, O_RDONLY));
	return NULL;
}

static void child(void)
{
	if (chdir("real"))
		_exit(1);
	access("a.txt", R_OK);
	usleep(20000);
	access("../sub", R_OK);
	execl("/srv/demo/demo", "demo", "grandchild", (char *)NULL);
}

static void lists(const char *name)
{
	DIR *directory = opendir(name);
	while (readdir(directory))
		;
	closedir(directory);
}

static void looks(void)
{
	struct stat st;
	char text[100];
	int fd;
	stat("missing/x", &st);
	lstat("link", &st);
	readlink("link", text, sizeof text);
	chdir("nowhere");
	fd = open("link", O_RDONLY | O_DIRECTORY);
	faccessat(fd, "a.txt", R_OK, 0);
	close(openat(fd, "../sub/chain", O_RDONLY));
	lists("sub");
	close(open("q\"uo\\te <1> \377\303\251\n\0012", O_RDONLY));
}

static void writes(void)
{
	mkdir("new", 0755);
	close(open("new/out", O_CREAT | O_WRONLY | O_TRUNC, 0644));
	rename("new/out", "new/out2");
	close(open("both", O_RDWR));
	unlink("new/out2");
	rmdir("new");
}

static void talks(void)
{
	struct sockaddr_un nobody = {AF_UNIX, "/srv/demo/nobody"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	connect(fd, (struct sockaddr *)&nobody, sizeof nobody);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	pid_t pid;
	if (argc > 1)
		return access("a.txt", R_OK);
	if (chdir("/srv/demo"))
		return 1;
	pid = fork();
	if (!pid)
		child();
	usleep(10000);
	pthread_create(&thread, NULL, reads, "real/a.txt");
	pthread_join(thread, NULL);
	waitpid(pid, NULL, 0);
	looks();
	writes();
	talks();
	return 0;
}
