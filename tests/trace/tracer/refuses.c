/* Installs a filter under which openat fails, and goes on. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <unistd.h>

int main(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0);
	seccomp_load(filter);
	if (open("d/b.txt", O_RDONLY) >= 0)
		return 1;
	return access("d/c.txt", R_OK);
}
