/* A thread that is not the first one executes a program. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static void *executes(void *unused)
{
	chdir("d");
	execl("./prog", "prog", (char *)NULL);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t id;
	pthread_create(&id, NULL, executes, NULL);
	pause();
	return 1;
}
