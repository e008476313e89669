/* Asks for sockets that are not there. */
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un address = {AF_UNIX, "d/nobody"};
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address);
	return 0;
}
