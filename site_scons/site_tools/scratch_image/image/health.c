/* A health check without a shell or a C library: health http://127.0.0.1:PORT/PATH

   It asks for the page, prints the first line of the answer, and ends with status 0 if the server
   says that all is well (2xx, 3xx), with 1 if not. After a minute SIGALRM ends it. */

#if defined __x86_64__
enum { READ = 0, WRITE = 1, SETITIMER = 38, SOCKET = 41, CONNECT = 42, EXIT = 231 };
__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall start\n");
static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined __aarch64__
enum { READ = 63, WRITE = 64, EXIT = 94, SETITIMER = 103, SOCKET = 198, CONNECT = 203 };
__asm__(".globl _start\n_start: mov x0, sp\nand sp, x0, #-16\nbl start\n");
static long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#else
#error "it knows the system calls of amd64 and arm64 alone"
#endif

static void end(int status)
{
    for (;;)
        call(EXIT, status, 0, 0);
}

static long append(char *buffer, long used, long size, const char *text)
{
    while (*text) {
        if (used == size)
            end(1);
        buffer[used++] = *text++;
    }
    return used;
}

void start(long *stack)
{
    static const char prefix[] = "http://127.0.0.1:";
    static const long minute[4] = {0, 0, 60, 0};
    static char request[8192], answer[256];
    const char *page = (const char *)stack[2];
    unsigned char address[16] = {2, 0, 0, 0, 127, 0, 0, 1};
    long port = 0, got = 0, line, used, server;

    if (stack[0] != 2)
        end(1);
    for (line = 0; prefix[line]; line++)
        if (*page++ != prefix[line])
            end(1);
    for (; *page >= '0' && *page <= '9'; page++)
        port = port * 10 + *page - '0';
    address[2] = port >> 8, address[3] = port;
    call(SETITIMER, 0, (long)minute, 0);
    server = call(SOCKET, 2, 1, 0);
    if (server < 0 || call(CONNECT, server, (long)address, sizeof address) < 0)
        end(1);
    used = append(request, 0, sizeof request, "GET ");
    used = append(request, used, sizeof request, *page ? page : "/");
    used = append(request, used, sizeof request, " HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    if (call(WRITE, server, (long)request, used) != used)
        end(1);
    for (line = 0; line == got && got < (long)sizeof answer;) {
        long more = call(READ, server, (long)(answer + got), sizeof answer - got);
        if (more <= 0)
            break;
        for (got += more; line < got && answer[line] != '\r' && answer[line] != '\n'; line++)
            ;
    }
    call(WRITE, 1, (long)answer, line);
    end(line < 12 || answer[0] != 'H' || answer[4] != '/' || (answer[9] != '2' && answer[9] != '3'));
}
