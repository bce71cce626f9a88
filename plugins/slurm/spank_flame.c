/* spank_flame.c - `sbatch --flame script`: the script finds a running instance of Flame in its environment.
 *
 *     sbatch, salloc, srun    the options, checked (on_slots, on_applications, on_options)
 *     the first process of a batch or interactive step, already the user's, just before it becomes the
 *                             script (task_init): FLM_ENDPOINT, and flm-instance(1) beside it
 *     the first srun of a salloc without such a step (local_user_init): a step of one more srun, in which
 *                             flm-instance is the task
 *
 * flm-instance does all that may fail or take time, as the user, in the job. A job that does not ask for
 * Flame is left after one comparison, and nothing here makes a job fail. What the job's processes see of
 * the instance is a path that is known before it exists; flm_connect(3) waits for it (FLM_ENDPOINT_WAIT).
 */
#define _GNU_SOURCE
#pragma GCC visibility push(default) /* what Slurm looks up by name */
#include <slurm/slurm.h>
#include <slurm/spank.h>
SPANK_PLUGIN(spank_flame, 1)
#pragma GCC visibility pop

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_S "30" /* a client waits so long for an instance that starts */
#define MARK   "FLM_JOB_INSTANCE"

enum {
    SLOTS_MAX = 4096,
    TEXT_MAX = 4096, /* of an option */
    RUNTIME_MAX = 60,
    NAME_MAX_BYTES = 48,
    PATH_BYTES = RUNTIME_MAX + NAME_MAX_BYTES + 32,
    NODE_BYTES = 256,
    ENDPOINT_BYTES = PATH_BYTES + NODE_BYTES + 16,
    BACKLOG = 128,
    HIGH_FD = 10,
    ARGUMENTS_MAX = 40,
    SHAPE_MAX = 5,
    SHAPE_BYTES = 512,
};

static struct {
    bool wanted;
    char slots[8]; /* "": as the job was asked for */
    char applications[TEXT_MAX], options[TEXT_MAX];
    const char *program; /* flm-instance */
} flame = {.program = FLM_LIBEXECDIR "/flm-instance"};

/* ---- the options ------------------------------------------------------------------------------- */

/* In a job the value has been checked already; there, nothing is refused any more. */
static int refuse(int remote)
{
    return remote ? 0 : -1;
}

static int on_slots(int val, const char *value, int remote)
{
    char *end = NULL;
    (void)val;
    flame.wanted = true;
    flame.slots[0] = 0;
    if (!value || !*value || strcmp(value, "(null)") == 0)
        return 0;
    long n = *value >= '0' && *value <= '9' ? strtol(value, &end, 10) : 0;
    if (n < 1 || n > SLOTS_MAX || *end) {
        slurm_error("spank_flame: --flame takes the number of executors on each node, 1 to %d, or nothing, "
                    "not '%.60s'",
                    SLOTS_MAX, value);
        return refuse(remote);
    }
    snprintf(flame.slots, sizeof(flame.slots), "%ld", n);
    return 0;
}

static int on_applications(int val, const char *value, int remote)
{
    char copy[TEXT_MAX], *save = NULL;
    (void)val;
    flame.wanted = true;
    if (!value || !*value || strlen(value) >= sizeof(copy)) {
        slurm_error("spank_flame: --flame-app takes files with commas between them, at most %d bytes",
                    TEXT_MAX - 1);
        return refuse(remote);
    }
    memcpy(copy, value, strlen(value) + 1);
    /* srun in a job inherits the option, and may be in another directory by then. */
    bool look = !remote && !getenv("SLURM_JOB_ID");
    for (char *file = strtok_r(copy, ",", &save); look && file; file = strtok_r(NULL, ",", &save)) {
        if (access(file, R_OK) < 0) {
            slurm_error("spank_flame: --flame-app: cannot read %s: %s", file, strerror(errno));
            return -1;
        }
    }
    memcpy(flame.applications, value, strlen(value) + 1);
    return 0;
}

/* What flm-instance itself says to flmd. */
static bool is_ours(const char *word)
{
    static const char *const ours[] = {"--endpoint", "-e",          "--directory", "--backend",
                                       "--ready-fd", "--parent-fd", "--private"};
    size_t n = strcspn(word, "=");
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if (strlen(ours[i]) == n && strncmp(word, ours[i], n) == 0)
            return true;
    return false;
}

static int on_options(int val, const char *value, int remote)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+_=.,:;/@%*()";
    char copy[TEXT_MAX], *save = NULL;
    bool first = true;
    (void)val;
    flame.wanted = true;
    if (!value || strlen(value) >= sizeof(copy)) {
        slurm_error("spank_flame: --flame-opts takes at most %d bytes", TEXT_MAX - 1);
        return refuse(remote);
    }
    memcpy(copy, value, strlen(value) + 1);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save), first = false) {
        if (word[strspn(word, allowed)])
            slurm_error("spank_flame: --flame-opts: '%.60s' has a character that no option of flmd has",
                        word);
        else if (first && *word != '-')
            slurm_error("spank_flame: --flame-opts takes options of flmd, for example "
                        "--flame-opts=\"--bind l3\", not '%.60s'",
                        word);
        else if (is_ours(word))
            slurm_error("spank_flame: --flame-opts: %.60s is not for a job to choose", word);
        else
            continue;
        return refuse(remote);
    }
    memcpy(flame.options, value, strlen(value) + 1);
    return 0;
}

static struct spank_option options[] = {
    {"flame", "[slots-per-node]",
     "start Flame in the job, with so many executors on each node (default: one per task, or core)", 2, 0,
     on_slots},
    {"flame-app", "FILE[,FILE...]", "applications of Flame to register", 1, 0, on_applications},
    {"flame-opts", "OPTIONS", "options for Flame's session manager, see flmd(1)", 1, 0, on_options},
};

/* In sbatch and salloc, which take options from the environment, too: whoever calls them in a job with
 * Flame has those of that job there, and did not ask for Flame in the new one. */
static void forget_inherited(void)
{
    for (size_t i = 0; environ[i];) {
        const char *option = strstr(environ[i], "_SLURM_SPANK_OPTION_spank_flame_");
        char name[128];
        size_t size = strcspn(environ[i], "=");
        /* As srun has it from salloc, or as a script has it from sbatch. */
        bool ours = option == environ[i] ||
                    (option == environ[i] + 12 && strncmp(environ[i], "SLURM_SPANK_", 12) == 0);
        if (!ours || size >= sizeof(name)) {
            i++;
            continue;
        }
        memcpy(name, environ[i], size);
        name[size] = 0;
        unsetenv(name);
    }
}

/* The arguments are those of the line in plugstack.conf. */
int slurm_spank_init(spank_t spank, int n, char *arguments[])
{
    if (spank_context() == S_CTX_ALLOCATOR)
        forget_inherited();
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (spank_option_register(spank, &options[i]) != ESPANK_SUCCESS)
            slurm_error("spank_flame: there is no --%s: another plugin has it", options[i].name);
    for (int i = 0; i < n; i++) {
        if (strncmp(arguments[i], "instance=/", 10) == 0)
            flame.program = arguments[i] + 9;
        else
            slurm_error("spank_flame: plugstack.conf: '%s' is unknown: it takes instance=/PATH",
                        arguments[i]);
    }
    return 0;
}

/* ---- where the instance is --------------------------------------------------------------------- */

static bool is_ours_alone(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

/* As flm-instance chooses it (src/tools/flmrun_instance.c), which makes and verifies it. */
static void runtime_directory(char *out, size_t n, const char *xdg)
{
    if (xdg && *xdg == '/' && strlen(xdg) < RUNTIME_MAX - 6 && is_ours_alone(xdg))
        snprintf(out, n, "%s/flame", xdg);
    else
        snprintf(out, n, "/tmp/flame-%u", (unsigned)geteuid());
}

struct job {
    uint32_t id, step;
    char name[NAME_MAX_BYTES]; /* of the instance's directory */
};

/* restarts: SLURM_RESTART_COUNT (S_SLURM_RESTART_COUNT is 0 in Slurm 22.05). A job that was requeued is
 * another one: of its former life something may still be there. */
static bool job_of(spank_t spank, const char *restarts, struct job *job)
{
    if (spank_get_item(spank, S_JOB_ID, &job->id) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_STEPID, &job->step) != ESPANK_SUCCESS)
        return false;
    snprintf(job->name, sizeof(job->name), "run-job-%u-%lu", job->id,
             restarts ? strtoul(restarts, NULL, 10) % 100000 : 0);
    return true;
}

/* ---- a program beside us ----------------------------------------------------------------------- */

struct command {
    const char *argv[ARGUMENTS_MAX];
    unsigned n;
    char pid[16], job[32], socket[16];
    char shape[SHAPE_MAX][SHAPE_BYTES];
};

static void add(struct command *c, const char *word)
{
    if (c->n < ARGUMENTS_MAX - 1)
        c->argv[c->n++] = word;
}

static void add_pair(struct command *c, const char *name, const char *value)
{
    if (value && *value) {
        add(c, name);
        add(c, value);
    }
}

static void add_instance(struct command *c, const struct job *job)
{
    add(c, flame.program);
    add_pair(c, "--name", job->name);
    add_pair(c, "--slots", flame.slots);
    add_pair(c, "--app", flame.applications);
    add_pair(c, "--options", flame.options);
}

/* In the child: never returns. err: for its messages; -1: leaves them where ours go. */
static void become(const struct command *c, const char *program, char **env, int err)
{
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        if (err >= 0)
            dup2(null, STDOUT_FILENO);
    }
    if (err >= 0)
        dup2(err, STDERR_FILENO);
    setsid();
    execve(program, (char *const *)(uintptr_t)c->argv, env);
    dprintf(STDERR_FILENO, "spank_flame: cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

/* Two forks, so that nobody has a child that he did not start. */
static void start(const struct command *c, const char *program, char **env, int err)
{
    pid_t pid = fork();
    if (pid == 0) {
        pid = fork();
        if (pid == 0)
            become(c, program, env, err);
        _exit(pid < 0);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || status != 0)
        slurm_error("spank_flame: cannot start a process for Flame; the job goes on without it");
}

/* ---- in the job: a batch script, an interactive shell, a task ---------------------------------- */

static bool is_user(spank_t spank)
{
    uid_t uid;
    return spank_get_item(spank, S_JOB_UID, &uid) == ESPANK_SUCCESS && uid == getuid() && uid == geteuid();
}

/* For clients on other nodes, which are told its port before there is a session manager: what they say
 * waits there. *port 0: there is none. */
static int listen_for_others(unsigned *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {.sin6_family = AF_INET6}};
    socklen_t size = sizeof(address);
    int off = 0, low = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *port = 0;
    if (low >= 0)
        setsockopt(low, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (low < 0 || bind(low, &address.any, sizeof(address.v6)) < 0) {
        if (low >= 0)
            close(low);
        memset(&address, 0, sizeof(address));
        address.v4.sin_family = AF_INET;
        low = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (low < 0 || bind(low, &address.any, sizeof(address.v4)) < 0) {
            if (low >= 0)
                close(low);
            return -1;
        }
    }
    int fd = listen(low, BACKLOG) == 0 ? fcntl(low, F_DUPFD, HIGH_FD) : -1; /* flm-instance inherits it */
    close(low);
    if (fd >= 0 && getsockname(fd, &address.any, &size) == 0)
        *port = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
    return fd;
}

/* Beside the process that we are in, which it watches. socket: -1 none. */
static void start_beside(spank_t spank, const struct job *job, int socket)
{
    struct command c = {.n = 0};
    char **env = NULL;
    if (socket >= 0)
        snprintf(c.socket, sizeof(c.socket), "%d", socket);
    snprintf(c.pid, sizeof(c.pid), "%d", (int)getpid());
    add_instance(&c, job);
    add_pair(&c, "--watch", c.pid);
    add_pair(&c, "--listen-fd", c.socket);
    if (spank_get_item(spank, S_JOB_ENV, &env) == ESPANK_SUCCESS && env)
        start(&c, flame.program, env, -1);
}

/* By which others find the node that we are on. */
static void name_of_node(spank_t spank, char *out, size_t n)
{
    if (spank_getenv(spank, "SLURMD_NODENAME", out, (int)n) == ESPANK_SUCCESS && *out)
        return;
    if (gethostname(out, n) < 0)
        *out = 0;
    out[n - 1] = 0;
}

/* The Unix socket is on the job's first node; a step elsewhere gets what is behind it in our list. */
static void choose_endpoint(spank_t spank, const struct job *job)
{
    char list[ENDPOINT_BYTES], node[NODE_BYTES], ours[NAME_MAX_BYTES + 16];
    snprintf(ours, sizeof(ours), "/%s/job.sock,", job->name);
    const char *tcp = spank_getenv(spank, "FLM_ENDPOINT", list, sizeof(list)) == ESPANK_SUCCESS
                          ? strstr(list, ours)
                          : NULL;
    tcp = tcp ? strstr(tcp, ",tcp:") : NULL;
    name_of_node(spank, node, sizeof(node));
    size_t n = strlen(node);
    if (tcp && (strncmp(tcp + 5, node, n) != 0 || tcp[5 + n] != ':') &&
        spank_setenv(spank, "FLM_ENDPOINT", tcp + 1, 1) != ESPANK_SUCCESS)
        slurm_error("spank_flame: cannot set FLM_ENDPOINT for the step");
}

/* port: at which the instance listens for other nodes; 0: it does not. */
static void set_environment(spank_t spank, const struct job *job, unsigned port)
{
    char xdg[PATH_BYTES] = "", runtime[RUNTIME_MAX + 8], endpoint[ENDPOINT_BYTES], node[NODE_BYTES];
    if (spank_getenv(spank, "XDG_RUNTIME_DIR", xdg, sizeof(xdg)) != ESPANK_SUCCESS)
        xdg[0] = 0;
    runtime_directory(runtime, sizeof(runtime), xdg);
    int n = snprintf(endpoint, sizeof(endpoint), "unix:%s/%s/job.sock", runtime, job->name);
    name_of_node(spank, node, sizeof(node));
    if (port && *node)
        snprintf(endpoint + n, sizeof(endpoint) - (size_t)n, ",tcp:%s:%u", node, port);
    if (spank_setenv(spank, "FLM_ENDPOINT", endpoint, 1) != ESPANK_SUCCESS ||
        spank_setenv(spank, "FLM_ENDPOINT_WAIT", WAIT_S, 1) != ESPANK_SUCCESS ||
        spank_setenv(spank, MARK, job->name, 1) != ESPANK_SUCCESS)
        slurm_error("spank_flame: cannot set FLM_ENDPOINT for the job");
}

int slurm_spank_task_init(spank_t spank, int n, char *arguments[])
{
    struct job job;
    char mark[NAME_MAX_BYTES] = "", restarts[16];
    (void)n;
    (void)arguments;
    if (!flame.wanted || !is_user(spank))
        return 0;
    bool again = spank_getenv(spank, "SLURM_RESTART_COUNT", restarts, sizeof(restarts)) == ESPANK_SUCCESS;
    if (!job_of(spank, again ? restarts : NULL, &job))
        return 0;
    bool host = job.step == SLURM_BATCH_SCRIPT || job.step == SLURM_INTERACTIVE_STEP;
    /* A step of a script that has it all in its environment, or another instance in its place. */
    if (!host && spank_getenv(spank, MARK, mark, sizeof(mark)) == ESPANK_SUCCESS &&
        strcmp(mark, job.name) == 0) {
        choose_endpoint(spank, &job);
        return 0;
    }
    if (host && access(flame.program, X_OK) < 0) {
        slurm_error("spank_flame: cannot run %s: %s; the job goes on without Flame", flame.program,
                    strerror(errno));
        return 0;
    }
    unsigned port = 0;
    int socket = host ? listen_for_others(&port) : -1;
    set_environment(spank, &job, port);
    if (host)
        start_beside(spank, &job, socket);
    if (socket >= 0)
        close(socket);
    return 0;
}

/* ---- in srun, where the job has no step yet that could have it --------------------------------- */

/* Held by the srun of the instance's step, as long as it lives. -1: it is held, or cannot be had. */
static int lock_job(const struct job *job)
{
    char runtime[RUNTIME_MAX + 8], path[PATH_BYTES];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = job->id, .l_len = 1};
    runtime_directory(runtime, sizeof(runtime), getenv("XDG_RUNTIME_DIR"));
    if ((mkdir(runtime, 0700) < 0 && errno != EEXIST) || !is_ours_alone(runtime)) {
        slurm_error("spank_flame: %s must be a directory of yours with mode 0700; going on without Flame",
                    runtime);
        return -1;
    }
    snprintf(path, sizeof(path), "%s/jobs", runtime);
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Ours without what an srun would take for options of its own. Freed by nobody but exec and exit. */
static char **clean_environment(void)
{
    static const char *const kept[] = {"SLURM_CONF=", "SLURM_CONF_SERVER=", NULL};
    size_t n = 0, used = 0;
    while (environ[n])
        n++;
    char **env = calloc(n + 1, sizeof(*env));
    for (char **e = environ; env && *e; e++) {
        bool keep = strncmp(*e, "SLURM_", 6) != 0 && strncmp(*e, "SRUN_", 5) != 0 &&
                    strncmp(*e, "_SLURM_SPANK_OPTION_spank_flame_", 32) != 0;
        for (const char *const *k = kept; !keep && *k; k++)
            keep = strncmp(*e, *k, strlen(*k)) == 0;
        if (keep)
            env[used++] = *e;
    }
    return env;
}

/* A variable as we were given it: srun has set some of ours for the tasks of its step already. */
static bool given(const char *environment, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    for (const char *e = environment; *e; e += strlen(e) + 1) {
        if (strncmp(e, name, n) == 0 && e[n] == '=' && strlen(e + n + 1) < size) {
            memcpy(out, e + n + 1, strlen(e + n + 1) + 1);
            return true;
        }
    }
    return false;
}

/* What the job has, which the environment of a step of one task does not tell. */
static void add_shape(struct command *c, spank_t spank, const struct job *job)
{
    static const char *const names[SHAPE_MAX] = {"SLURM_JOB_NUM_NODES", "SLURM_JOB_CPUS_PER_NODE",
                                                 "SLURM_NTASKS", "SLURM_TASKS_PER_NODE",
                                                 "SLURM_CPUS_PER_TASK"};
    static char environment[1 << 20]; /* as /proc shows it, ending in two NUL */
    char value[TEXT_MAX];
    uint32_t nodes;
    int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    for (size_t used = 0; fd >= 0 && used < sizeof(environment) - 2; used += (size_t)got)
        if ((got = read(fd, environment + used, sizeof(environment) - 2 - used)) <= 0)
            break;
    if (fd >= 0)
        close(fd);
    if (given(environment, "SLURM_JOB_ID", value, sizeof(value)) && strtoul(value, NULL, 10) == job->id) {
        for (unsigned i = 0; i < SHAPE_MAX; i++) {
            if (!given(environment, names[i], value, sizeof(value)))
                continue;
            snprintf(c->shape[i], sizeof(c->shape[i]), "%s=%.*s", names[i], (int)sizeof(c->shape[i]) - 32,
                     value);
            add_pair(c, "--set", c->shape[i]);
        }
    } else if (spank_get_item(spank, S_JOB_NNODES, &nodes) ==
               ESPANK_SUCCESS) { /* its step is all of the job */
        const char *cpus = getenv(names[1]);
        snprintf(c->shape[0], sizeof(c->shape[0]), "%s=%u", names[0], nodes);
        snprintf(c->shape[1], sizeof(c->shape[1]), "%s=%.400s", names[1], cpus ? cpus : "");
        add_pair(c, "--set", c->shape[0]);
        if (cpus)
            add_pair(c, "--set", c->shape[1]);
    }
}

static void start_step(spank_t spank, const struct job *job)
{
    static const char *const words[] = {"srun",
                                        "--overlap",
                                        "--nodes=1",
                                        "--ntasks=1",
                                        "--relative=0",
                                        "--mpi=none",
                                        "--input=none",
                                        "--export=ALL",
                                        "--quiet",
                                        "--kill-on-bad-exit=0",
                                        "--job-name=flame"};
    /* For messages. Not a pipe: who reads that to its end would wait for the end of the job. */
    struct stat st;
    struct command c = {.n = 0};
    char **env = clean_environment();
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        add(&c, words[i]);
    snprintf(c.job, sizeof(c.job), "--jobid=%u", job->id);
    add(&c, c.job);
    add_instance(&c, job);
    add_shape(&c, spank, job);
    int err = isatty(STDERR_FILENO) || (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
                  ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
                  : open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (err < 0)
        err = open("/dev/null", O_WRONLY);
    if (env && err >= 0)
        start(&c, "/proc/self/exe", env, err);
    free(env);
    close(err);
}

int slurm_spank_local_user_init(spank_t spank, int n, char *arguments[])
{
    struct job job;
    const char *mark = getenv(MARK);
    (void)n;
    (void)arguments;
    if (!flame.wanted || !job_of(spank, getenv("SLURM_RESTART_COUNT"), &job) ||
        job.step == SLURM_INTERACTIVE_STEP || (mark && strcmp(mark, job.name) == 0))
        return 0;
    int lock = lock_job(&job);
    if (lock < 0)
        return 0;
    start_step(spank, &job);
    close(lock);
    return 0;
}
