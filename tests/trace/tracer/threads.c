/* Threads, signals and vfork, all at once. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void ignore(int number)
{
}

static void *reads(void *name)
{
	for (int i = 0; i < 30; i++)
		close(open(name, O_RDONLY));
	return NULL;
}

int main(void)
{
	pthread_t one, two;
	signal(SIGUSR1, ignore);
	pthread_create(&one, NULL, reads, "d/b.txt");
	pthread_create(&two, NULL, reads, "d/c.txt");
	for (int i = 0; i < 10; i++) {
		if (!vfork()) {
			execl("/nonexistent/true", "true", (char *)NULL);
			execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		kill(getpid(), SIGUSR1);
	}
	pthread_join(one, NULL);
	pthread_join(two, NULL);
	while (wait(NULL) > 0)
		;
	return 0;
}
