/* Backend plugins that must be refused; which one, ODD says. */
#include <flm/backend.h>

#define ODD_ABI     1
#define ODD_SMALL   2
#define ODD_HOLES   3
#define ODD_NOTHING 4

#if ODD != ODD_NOTHING
static int init(const struct flm_backend_host *host, const char *const *configuration, void **state,
                flm_error *error)
{
    (void)host;
    (void)configuration;
    (void)state;
    (void)error;
    return 0;
}

static void fini(void *state)
{
    (void)state;
}

static int get_block(void *state, const struct flm_block_request *request, flm_error *error)
{
    (void)state;
    (void)request;
    (void)error;
    return 0;
}

static int release_block(void *state, uint64_t block, flm_error *error)
{
    (void)state;
    (void)block;
    (void)error;
    return 0;
}

FLM_API const struct flm_backend flm_backend = {
    .abi = ODD == ODD_ABI ? 77 : FLM_BACKEND_ABI,
    .size = ODD == ODD_SMALL ? 16 : sizeof(struct flm_backend),
    .name = "odd",
    .init = init,
    .fini = fini,
    .get_block = ODD == ODD_HOLES ? 0 : get_block,
    .release_block = release_block,
};
#else
FLM_API extern const int something_else;
const int something_else = 1;
#endif
