/* Asks for sockets that are not there, and sends to one that is. */
#define _GNU_SOURCE
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un nobody = {AF_UNIX, "d/nobody"}, none = {AF_UNIX, "d/none"};
	struct sockaddr_un log = {AF_UNIX, "d/log"};
	struct iovec data = {"x", 1};
	struct msghdr message = {&log, sizeof log, &data, 1};
	struct mmsghdr many = {{&none, sizeof none, &data, 1}};
	int sender = socket(AF_UNIX, SOCK_DGRAM, 0);
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&nobody, sizeof nobody);
	sendto(sender, "x", 1, 0, (struct sockaddr *)&log, sizeof log);
	sendmsg(sender, &message, 0);
	sendmmsg(sender, &many, 1, 0);
	return 0;
}
