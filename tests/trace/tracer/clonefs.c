/* Tasks that share their working directory, and one that no longer does. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int child(void *unused)
{
	return chdir("d");
}

static void *thread(void *unused)
{
	chdir("real");
	return NULL;
}

int main(void)
{
	char *stack = malloc(65536);
	pthread_t id;
	waitpid(clone(child, stack + 65536, CLONE_FS | SIGCHLD, NULL), NULL, 0);
	access("b.txt", R_OK);
	pthread_create(&id, NULL, thread, NULL);
	pthread_join(id, NULL);
	access("a.txt", R_OK);
	if (!fork()) {
		chdir("/");
		_exit(access("etc/passwd", R_OK));
	}
	wait(NULL);
	return 0;
}
