/* Looks for a debugger by asking to be traced, as some programs do. */
#include <fcntl.h>
#include <sys/ptrace.h>

int main(void)
{
	return ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 || open("d/b.txt", O_RDONLY) < 0;
}
