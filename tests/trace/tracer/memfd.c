/* Files without names, and names that are not files. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	char buffer[65536], name[64];
	char *argv[] = {"true", NULL}, *envp[] = {NULL};
	int memory = memfd_create("mine", 0), program = open("/bin/true", O_RDONLY);
	ssize_t size;
	while ((size = read(program, buffer, sizeof buffer)) > 0)
		write(memory, buffer, size);
	sprintf(name, "/proc/self/fd/%d", memory);
	close(open(name, O_RDONLY));
	sprintf(name, "/dev/fd/%d", open("d/b.txt", O_RDONLY));
	open(name, O_RDONLY);
	access(name, R_OK);
	open("/proc/self/root/etc/hostname", O_RDONLY);
	syscall(SYS_execveat, memory, "", argv, envp, AT_EMPTY_PATH);
	return 1;
}
