/* Memory for the provider, and reading what a peer exposed.
 *
 * A read is cut in chunks, a few of which are in flight for each link. Its done is called when the provider
 * holds none of its chunks any more, because until then it may write to dst; only then does the read's
 * owner get dst back, also when the link has failed or is destroyed.
 */
#include "net/fabric_parts.h"

#include "base/error.h"

#include <stdlib.h>
#include <sys/random.h>

struct flm__region {
    struct fid_mr *mr; /* NULL for no bytes */
};

enum { KEY_TRIES = 8 };

/* Where we choose the key it is random: who was not told it shall not guess it. */
static uint64_t new_key(const struct flm__fabric *f)
{
    uint64_t key = 0;
    size_t bytes = f->info->domain_attr->mr_key_size;
    if (getrandom(&key, sizeof(key), 0) != (ssize_t)sizeof(key))
        key = (uint64_t)(uintptr_t)&key ^ f->turn;
    return bytes < sizeof(key) ? key & ((UINT64_C(1) << (8 * bytes)) - 1) : key;
}

int fabric_register(struct flm__fabric *f, const void *memory, size_t size, uint64_t access,
                    struct fid_mr **out)
{
    int rc = -FI_ENOKEY;
    for (int i = 0; rc == -FI_ENOKEY && i < KEY_TRIES; i++)
        rc = fi_mr_reg(f->domain, memory, size, access, 0, new_key(f), 0, out, NULL);
    if (rc) {
        *out = NULL;
        return rc;
    }
    if (!(f->info->domain_attr->mr_mode & FI_MR_ENDPOINT))
        return 0;
    rc = fi_mr_bind(*out, &f->ep->fid, 0);
    if (!rc)
        rc = fi_mr_enable(*out);
    if (rc) {
        fi_close(&(*out)->fid);
        *out = NULL;
    }
    return rc;
}

int fabric_expose(struct flm__fabric *f, const void *memory, size_t size, struct flm__region **out,
                  uint64_t *address, uint64_t *key, flm_error *error)
{
    struct flm__region *r = calloc(1, sizeof(*r));
    if (!r)
        return flm__error_set(error, FLM_ENOMEM, "no memory to expose %zu bytes", size);
    *address = *key = 0;
    if (size > 0) {
        int rc = fabric_register(f, memory, size, FI_REMOTE_READ, &r->mr);
        if (rc) {
            free(r);
            return flm__error_set(error, FLM_ENOMEM, "%s cannot expose %zu bytes: %s (ulimit -l?)",
                                  f->ops.name, size, fi_strerror(-rc));
        }
        if (f->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR)
            *address = (uint64_t)(uintptr_t)memory;
        *key = fi_mr_key(r->mr);
    }
    *out = r;
    return FLM_OK;
}

void fabric_conceal(struct flm__fabric *f, struct flm__region *region)
{
    (void)f;
    if (!region)
        return;
    if (region->mr)
        fi_close(&region->mr->fid);
    free(region);
}

/* No chunk of r is in flight: its done is due. */
static void end_read(struct fabric_read *r)
{
    struct fabric_link *l = r->link;
    DL_DELETE(l->reads, r);
    if (r->mr)
        fi_close(&r->mr->fid);
    r->mr = NULL;
    DL_APPEND(l->fabric->finished, r);
}

static bool is_over(const struct fabric_read *r)
{
    return r->in_flight == 0 && (r->status || r->completed == r->size);
}

int fabric_start_read(struct flm__link *link, void *dst, size_t size, uint64_t address, uint64_t key,
                      flm__fabric_done_fn *done, void *arg)
{
    struct fabric_link *l = (struct fabric_link *)link;
    struct flm__fabric *f = l->fabric;
    struct fabric_read *r = calloc(1, sizeof(*r));
    if (!r)
        return FLM_ENOMEM;
    *r = (struct fabric_read){.link = l, .dst = dst, .size = size, .address = address, .key = key};
    r->done = done;
    r->arg = arg;
    r->status = l->failed ? FLM_EDISCONNECTED : 0;
    if (!r->status && size > 0 && (f->info->domain_attr->mr_mode & FI_MR_LOCAL)) {
        if (fabric_register(f, dst, size, FI_READ, &r->mr)) {
            free(r);
            return FLM_ENOMEM;
        }
        r->desc = fi_mr_desc(r->mr);
    }
    DL_APPEND(l->reads, r);
    if (is_over(r))
        end_read(r);
    else
        fabric_link_add_work(l);
    return FLM_OK;
}

static struct fabric_chunk *free_chunk(struct fabric_link *l)
{
    for (int i = 0; i < FABRIC_CHUNKS; i++)
        if (!l->chunks[i].read)
            return &l->chunks[i];
    return NULL;
}

/* Posts the next chunk of r. */
static int post_chunk(struct fabric_read *r, struct fabric_chunk *c)
{
    size_t left = r->size - r->posted;
    c->bytes = left < FABRIC_CHUNK ? left : FABRIC_CHUNK;
    ssize_t rc = fi_read(r->link->fabric->ep, r->dst + r->posted, c->bytes, r->desc, r->link->peer,
                         r->address + r->posted, r->key, &c->op.context);
    if (rc == 0) {
        c->read = r;
        r->posted += c->bytes;
        r->in_flight++;
        r->link->in_flight++;
    }
    return (int)rc;
}

bool fabric_read_work(struct fabric_link *l)
{
    struct fabric_read *r, *next;
    DL_FOREACH_SAFE(l->reads, r, next)
    {
        struct fabric_chunk *c;
        while (!r->status && r->posted < r->size && (c = free_chunk(l))) {
            int rc = post_chunk(r, c);
            if (rc == -FI_EAGAIN)
                return true;
            if (rc)
                r->status = FLM_EIO;
        }
        if (is_over(r))
            end_read(r);
    }
    return false;
}

void fabric_chunk_done(struct fabric_chunk *c, int status)
{
    struct fabric_read *r = c->read;
    struct fabric_link *l = c->op.link;
    c->read = NULL;
    r->in_flight--;
    r->completed += c->bytes;
    if (status && !r->status)
        r->status = status;
    if (is_over(r))
        end_read(r);
    if (status == FLM_EDISCONNECTED)
        fabric_link_fail(l);
    else if (l->reads && !l->failed)
        fabric_link_add_work(l);
    fabric_link_release(l);
}

void fabric_chunk_let_go(struct fabric_chunk *c)
{
    struct fabric_read *r = c->read;
    c->read = NULL;
    r->status = FLM_EDISCONNECTED;
    if (--r->in_flight == 0)
        end_read(r);
}

void fabric_read_fail(struct fabric_link *l, int status)
{
    struct fabric_read *r, *next;
    DL_FOREACH_SAFE(l->reads, r, next)
    {
        if (!r->status)
            r->status = status;
        if (is_over(r))
            end_read(r);
    }
}

void fabric_run_finished(struct flm__fabric *f, const struct fabric_link *link)
{
    for (;;) {
        struct fabric_read *r = f->finished;
        while (r && link && r->link != link)
            r = r->next;
        if (!r)
            return;
        DL_DELETE(f->finished, r);
        r->done(r->arg, r->status);
        free(r);
    }
}
