/* Executes its arguments under a kernel that forbids ptrace, as Docker's default was. */
#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
	if (argc < 2 || strcmp(argv[1], "--version"))
		seccomp_load(filter);
	argv[0] = "/usr/bin/strace";
	execv(argv[0], argv);
	return 127;
}
