/* The backend `fake`: starts nothing, and does what its configuration says. For tests of flm-backend and
 * flmd, and the shortest example of a plugin.
 *
 *   delay=MS       answers later (default: at once)
 *   refuse=TEXT    refuses every block, with this reason
 *   waiting=TEXT   says so before it grants
 *   end-after=MS   a granted block ends by itself
 *   fail=TEXT      init fails
 *   exit=N         get_block ends the whole process, as a library that calls exit would
 *   odd=twice      grants and ends each block twice
 *   odd=stranger   grants a block that nobody asked for
 *   odd=early      ends a block before it is granted
 */
#include <flm/backend.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MAX = 64 };

struct block {
    struct fake *fake;
    uint64_t number; /* 0: free */
    int timer;
};

struct fake {
    const struct flm_backend_host *host;
    unsigned delay, end_after;
    const char *refuse, *waiting, *odd;
    int exit_status; /* -1: none */
    struct block blocks[BLOCKS_MAX];
};

/* The value of `name=` in option, NULL: another one. */
static const char *value(const char *option, const char *name)
{
    size_t n = strlen(name);
    return strncmp(option, name, n) == 0 && option[n] == '=' ? option + n + 1 : NULL;
}

static int fake_init(const struct flm_backend_host *host, const char *const *configuration, void **state,
                     flm_error *error)
{
    struct fake *fake = calloc(1, sizeof(*fake));
    if (!fake)
        return FLM_ENOMEM;
    fake->host = host;
    fake->exit_status = -1;
    fake->odd = "";
    for (; *configuration; configuration++) {
        const char *v;
        if ((v = value(*configuration, "delay")))
            fake->delay = (unsigned)strtoul(v, NULL, 10);
        else if ((v = value(*configuration, "end-after")))
            fake->end_after = (unsigned)strtoul(v, NULL, 10);
        else if ((v = value(*configuration, "exit")))
            fake->exit_status = atoi(v);
        else if ((v = value(*configuration, "refuse")))
            fake->refuse = v;
        else if ((v = value(*configuration, "waiting")))
            fake->waiting = v;
        else if ((v = value(*configuration, "odd")))
            fake->odd = v;
        else if ((v = value(*configuration, "fail")) && error) {
            error->code = FLM_EIO;
            snprintf(error->text, sizeof(error->text), "%s", v);
        }
        if (value(*configuration, "fail")) {
            free(fake);
            return FLM_EIO;
        }
    }
    *state = fake;
    return 0;
}

static void end(struct block *block, const char *reason)
{
    const struct flm_backend_host *host = block->fake->host;
    uint64_t number = block->number;
    block->number = 0;
    host->ended(host->handle, number, 0, reason);
    if (strcmp(block->fake->odd, "twice") == 0)
        host->ended(host->handle, number, 0, reason);
}

static void on_end(void *arg)
{
    struct block *block = arg;
    block->timer = 0;
    end(block, "its time is over");
}

static void answer(void *arg)
{
    struct block *block = arg;
    struct fake *fake = block->fake;
    const struct flm_backend_host *host = fake->host;
    block->timer = 0;
    if (fake->refuse) {
        uint64_t number = block->number;
        block->number = 0;
        host->refused(host->handle, number, FLM_EPERM, fake->refuse);
        return;
    }
    if (strcmp(fake->odd, "stranger") == 0)
        host->granted(host->handle, block->number + 1000, "fake", -1);
    if (strcmp(fake->odd, "early") == 0)
        host->ended(host->handle, block->number, 0, "before it began");
    host->granted(host->handle, block->number, "fake-1", -1);
    if (strcmp(fake->odd, "twice") == 0)
        host->granted(host->handle, block->number, "fake-2", -1);
    if (fake->end_after)
        block->timer = host->timer(host->handle, fake->end_after, on_end, block);
}

static int fake_get_block(void *state, const struct flm_block_request *request, flm_error *error)
{
    struct fake *fake = state;
    (void)error;
    if (fake->exit_status >= 0)
        exit(fake->exit_status);
    for (int i = 0; i < BLOCKS_MAX; i++) {
        struct block *block = &fake->blocks[i];
        if (block->number)
            continue;
        *block = (struct block){.fake = fake, .number = request->block};
        if (fake->waiting)
            fake->host->waiting(fake->host->handle, request->block, fake->waiting);
        if (fake->delay)
            block->timer = fake->host->timer(fake->host->handle, fake->delay, answer, block);
        else
            answer(block);
        return 0;
    }
    return FLM_EFULL;
}

static int fake_release_block(void *state, uint64_t number, flm_error *error)
{
    struct fake *fake = state;
    (void)error;
    for (int i = 0; i < BLOCKS_MAX; i++) {
        if (fake->blocks[i].number != number)
            continue;
        if (fake->blocks[i].timer)
            fake->host->cancel_timer(fake->host->handle, fake->blocks[i].timer);
        end(&fake->blocks[i], "released");
        return 0;
    }
    return FLM_ENOTFOUND;
}

static void fake_fini(void *state)
{
    struct fake *fake = state;
    for (int i = 0; i < BLOCKS_MAX; i++) {
        struct block *block = &fake->blocks[i];
        if (block->number && block->timer)
            fake->host->cancel_timer(fake->host->handle, block->timer);
        if (block->number)
            end(block, "released");
    }
    free(fake);
}

FLM_API const struct flm_backend flm_backend = {
    .abi = FLM_BACKEND_ABI,
    .size = sizeof(struct flm_backend),
    .name = "fake",
    .description = "no nodes at all, for tests",
    .init = fake_init,
    .fini = fake_fini,
    .get_block = fake_get_block,
    .release_block = fake_release_block,
};
