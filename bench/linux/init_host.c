// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * First process of the Linux guest that `./hallows bench --linux` compares with (made into an
 * initramfs by tools/linux_guest.py): loads the kernel modules named in /modules, configures eth0,
 * starts every program named in /programs and says so on the console.
 *
 * The kernel's command line gives the address: hallows.address=A.B.C.D (a /24), or no network.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 32
#define CARRIER_SECONDS 60

static _Noreturn void give_up(const char *what)
{
    printf("linux: failed: %s\n", what);
    fflush(stdout);
    for (;;) {
        pause();
    }
}

static void load_module(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 || syscall(SYS_finit_module, file, "", 0) != 0) {
        printf("linux: cannot load %s\n", path);
        give_up("a module");
    }
    close(file);
}

/* Calls `use` for each line of the file. */
static void each_line(const char *path, void (*use)(const char *line))
{
    char line[1024];
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        give_up(path);
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0') {
            use(line);
        }
    }
    fclose(file);
}

static void start_program(const char *line)
{
    static char copy[1024];
    char *words[WORDS_MAX + 1] = {0};
    size_t count = 0;

    pid_t child = fork();
    if (child != 0) {
        if (child < 0) {
            give_up("fork");
        }
        return;
    }
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok(copy, " "); word != NULL && count < WORDS_MAX;
         word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    execv(words[0], words);
    printf("linux: cannot start %s\n", words[0]);
    _exit(1);
}

static bool read_address(struct in_addr *address)
{
    static const char key[] = "hallows.address=";
    char line[4096] = {0};
    int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

    if (file < 0 || read(file, line, sizeof(line) - 1u) <= 0) {
        give_up("/proc/cmdline");
    }
    close(file);
    char *at = strstr(line, key);
    if (at == NULL) {
        return false;
    }
    at += sizeof(key) - 1u;
    at[strcspn(at, " \n")] = '\0';
    return inet_pton(AF_INET, at, address) == 1;
}

static void set_address(int control, struct ifreq *request, unsigned long call, struct in_addr to)
{
    struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr = to};

    memcpy(&request->ifr_addr, &value, sizeof(value));
    if (ioctl(control, call, request) != 0) {
        give_up("an address");
    }
}

static void interface_up(int control, const char *name)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(control, SIOCSIFFLAGS, &request) != 0) {
        give_up(name);
    }
}

static void configure_network(struct in_addr address)
{
    struct ifreq request = {.ifr_name = "eth0"};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char carrier = '0';

    interface_up(control, "lo");
    set_address(control, &request, SIOCSIFADDR, address);
    set_address(control, &request, SIOCSIFNETMASK, (struct in_addr){htonl(0xffffff00u)});
    interface_up(control, "eth0");
    close(control);
    for (int tenths = 0; carrier != '1' && tenths < CARRIER_SECONDS * 10; tenths++) {
        int file = open("/sys/class/net/eth0/carrier", O_RDONLY | O_CLOEXEC);
        if (file < 0 || read(file, &carrier, 1) != 1) {
            carrier = '0';
        }
        close(file);
        usleep(100000); /* no event tells of it without netlink */
    }
    if (carrier != '1') {
        give_up("no link on eth0");
    }
}

int main(void)
{
    struct in_addr address;

    setvbuf(stdout, NULL, _IOLBF, 0);
    mkdir("/dev", 0755);
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/tmp", 0777);
    if (mount("proc", "/proc", "proc", 0, NULL) != 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) != 0 ||
        mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) != 0) {
        give_up("mount");
    }
    each_line("/modules", load_module);
    if (read_address(&address)) {
        configure_network(address);
    }
    each_line("/programs", start_program);
    printf("linux: ready\n");
    for (;;) {
        if (wait(NULL) < 0) {
            pause();
        } else {
            printf("linux: a program ended\n");
        }
    }
}
