/* Calls every function of the header, with arguments that fit and with some that do not. With the argument `quiet`, only
 * those after which nothing faults. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "elbowroom.h"

static er_error error;

static int32_t even_pages(const er_fault *fault, void *user)
{
    er_region **region = user;
    size_t page = er_fault_offset(fault) / er_page_size();
    if ((char *)er_fault_address(fault) != (char *)er_region_base(*region) + er_fault_offset(fault))
        return ER_DECLINE;
    if (er_fault_access(fault) == ER_EXECUTE || er_fault_committed(fault) > er_region_len(*region))
        return ER_DECLINE;
    if (page % 2 == 1)
        return ER_DECLINE;
    return er_fault_commit(fault, NULL) == ER_OK ? ER_COMMIT : ER_DECLINE;
}

static void regions(void)
{
    size_t page = er_page_size();
    er_region *region = NULL;
    er_region_options options = {0};
    CHECK(er_region_new(page, &options, &region, &error) == ER_INVALID_ARGUMENT);
    CHECK(strstr(error.message, "size") != NULL);
    options.size = sizeof options;
    options.backend = 9;
    CHECK(er_region_new(page, &options, &region, &error) == ER_INVALID_ARGUMENT);
    options.backend = ER_PROTECTION;
    options.flags = 1u << 31;
    CHECK(er_region_new(page, &options, &region, &error) == ER_INVALID_ARGUMENT);
    options.flags = ER_REGION_QUIET;
    options.growth_pages = 1;
    options.growth_max_bytes = 1;
    CHECK(er_region_new(page, &options, &region, &error) == ER_INVALID_ARGUMENT);
    options.growth_max_bytes = 0;
    CHECK(er_region_new(page, &options, NULL, &error) == ER_INVALID_ARGUMENT);
    CHECK(er_region_new(0, &options, &region, &error) == ER_INVALID_RANGE);
    CHECK(er_region_new(page, NULL, NULL, NULL) == ER_INVALID_ARGUMENT);
    CHECK(region == NULL);

    /* A structure of a later version: what is unknown must be zero. */
    struct {
        er_region_options known;
        size_t later;
    } newer = {0};
    newer.known.size = sizeof newer;
    newer.later = 1;
    CHECK(er_region_new(page, &newer.known, &region, &error) == ER_INVALID_ARGUMENT);
    newer.later = 0;
    CHECK(er_region_new(page, &newer.known, &region, &error) == ER_OK);
    CHECK(er_region_release(region, &error) == ER_OK);
    /* And one of an earlier version, which ends after the limit. */
    size_t older[2] = {sizeof older, page};
    CHECK(er_region_new(2 * page, (er_region_options *)(void *)older, &region, &error) == ER_OK);
    CHECK(er_region_get_stats(region).commit_limit == page);
    CHECK(er_region_release(region, &error) == ER_OK);

    options.filter = even_pages;
    options.user = &region;
    options.name = "even";
    CHECK(er_region_new(8 * page, &options, &region, &error) == ER_OK);
    CHECK(er_fault_handler_is_good() == 1 && er_fault_handler_reinstall(&error) == ER_OK);
    unsigned char *base = er_region_base(region);
    base[2 * page] = 7;
    unsigned char got[2] = {9, 9};
    CHECK(er_region_read(region, 2 * page, got, 2, &error) == ER_OK && got[0] == 7 && got[1] == 0);
    got[1] = 9;
    CHECK(er_region_read(region, 3 * page - 1, got, 2, &error) == ER_DECLINED);
    CHECK(error.offset == 3 * page && got[0] == 0 && got[1] == 9);
    CHECK(er_region_write(region, 3 * page - 1, "ab", 2, &error) == ER_DECLINED);
    CHECK(error.code == ER_DECLINED && error.offset == 3 * page && error.size == 1);
    CHECK(base[3 * page - 1] == 'a');
    CHECK(er_region_fill(region, 0, page, 5, &error) == ER_OK && base[page - 1] == 5);
    /* Behind the end, the filter is asked, and its commit fails. */
    CHECK(er_region_fill(region, 8 * page, 1, 5, &error) == ER_DECLINED);
    CHECK(er_region_commit(region, page, page, &error) == ER_OK);
    CHECK(er_region_commit(region, SIZE_MAX, 2, &error) == ER_INVALID_RANGE);
    er_region_stats stats = er_region_get_stats(region);
    CHECK(stats.reserved == 8 * page && stats.committed == 3 * page && stats.refused == 3);
    er_span spans[2];
    CHECK(er_region_get_spans(region, spans, 2) == 2);
    CHECK(spans[0].offset == 0 && spans[0].size == 3 * page && spans[0].committed == 1);
    CHECK(er_region_get_spans(region, NULL, 0) == 2);
    CHECK(er_region_decommit(region, page, page, &error) == ER_OK);
    CHECK(er_region_get_spans(region, spans, 2) == 4);
    CHECK(er_region_write(NULL, 0, "", 1, &error) == ER_INVALID_ARGUMENT);
    CHECK(er_region_write(region, 0, NULL, 1, &error) == ER_INVALID_ARGUMENT);
    CHECK(er_region_read(region, 0, NULL, 0, &error) == ER_OK);
    CHECK(er_region_release(region, &error) == ER_OK);
    CHECK(er_region_release(NULL, &error) == ER_OK);
}

static void reservations(void)
{
    size_t page = er_page_size();
    er_reservation *reservation = NULL, *other = NULL;
    er_reservation_options options = {0};
    options.size = sizeof options;
    options.align = 3;
    CHECK(er_reservation_new(page, &options, &reservation, &error) == ER_INVALID_ALIGNMENT);
    options.align = 1 << 21;
    CHECK(er_reservation_new(4 * page, &options, &reservation, &error) == ER_OK);
    unsigned char *base = er_reservation_base(reservation);
    CHECK((uintptr_t)base % (1 << 21) == 0 && er_reservation_len(reservation) == 4 * page);
    CHECK(er_reservation_commit(reservation, page, 1, &error) == ER_OK);
    base[page] = 3;
    CHECK(er_reservation_protect(reservation, page, 1, ER_READ_ONLY, &error) == ER_OK && base[page] == 3);
    CHECK(er_reservation_protect(reservation, page, 1, 7, &error) == ER_INVALID_ARGUMENT);
    CHECK(er_reservation_protect(reservation, 0, 1, ER_READ_ONLY, &error) == ER_NOT_COMMITTED);
    CHECK(er_reservation_decommit(reservation, 0, 4 * page, &error) == ER_OK);
    options.align = 0;
    options.at = base;
    CHECK(er_reservation_new(page, &options, &other, &error) == ER_ADDRESS_IN_USE);
    options.near_to = base;
    CHECK(er_reservation_new(page, &options, &other, &error) == ER_INVALID_ARGUMENT);
    CHECK(er_reservation_release(reservation, &error) == ER_OK);
}

static void vectors(void)
{
    er_budget *budget = NULL, *part = NULL;
    er_vec *vec = NULL;
    er_budget_options inside = {0};
    inside.size = sizeof inside;
    CHECK(er_budget_new(1 << 20, NULL, &budget, &error) == ER_OK);
    inside.parent = budget;
    CHECK(er_budget_new(1 << 19, &inside, &part, &error) == ER_OK);
    er_vec_options options = {0};
    options.size = sizeof options;
    options.budget = part;
    CHECK(er_vec_new(1 << 30, &options, &vec, &error) == ER_OK);
    CHECK(er_vec_append(vec, "abc", 3, &error) == ER_OK);
    char *data = er_vec_data(vec);
    /* Its own bytes, again and again: it grows without moving. */
    for (int times = 0; times < 16; times++)
        CHECK(er_vec_append(vec, data, er_vec_len(vec), &error) == ER_OK);
    CHECK(er_vec_data(vec) == data && er_vec_len(vec) == 3 << 16);
    CHECK(memcmp(data + (3 << 16) - 3, "abc", 3) == 0);
    CHECK(er_vec_append(vec, data + 1, er_vec_len(vec), &error) == ER_INVALID_ARGUMENT);
    CHECK(er_vec_resize(vec, 1 << 20, &error) == ER_LIMIT && er_vec_len(vec) == 3 << 16);
    CHECK(er_vec_reserve(vec, 1 << 20, &error) == ER_LIMIT);
    er_budget_stats stats = er_budget_get_stats(budget);
    CHECK(stats.limit == 1 << 20 && stats.committed > 0 && stats.peak >= stats.committed);
    CHECK(stats.available <= (1 << 20) - stats.committed);
    CHECK(er_vec_resize(vec, 2, &error) == ER_OK);
    er_vec_shrink(vec);
    CHECK(er_budget_get_stats(part).committed == er_page_size());
    /* A vector keeps its budget. */
    er_budget_free(part);
    CHECK(er_vec_append(vec, "d", 1, &error) == ER_OK && memcmp(data, "abd", 3) == 0);
    er_vec_free(vec);
    CHECK(er_budget_get_stats(budget).committed == 0);
    er_budget_free(budget);
}

struct seen {
    size_t times;
    size_t committed;
};

static void on_reaching(const er_budget *budget, void *user)
{
    struct seen *seen = user;
    seen->times++;
    seen->committed = er_budget_get_stats(budget).committed;
}

static void budgets(void)
{
    size_t page = er_page_size();
    struct seen seen = {0};
    er_budget *budget = NULL;
    er_charge *charge = NULL, *other = NULL;
    er_budget_options options = {0};
    CHECK(er_budget_new(page, &options, &budget, &error) == ER_INVALID_ARGUMENT);
    options.size = sizeof options;
    options.name = "\xff";
    CHECK(er_budget_new(page, &options, &budget, &error) == ER_INVALID_ARGUMENT);
    options.name = "all";
    options.threshold = 3 * page;
    CHECK(er_budget_new(4 * page, &options, &budget, &error) == ER_INVALID_ARGUMENT && budget == NULL);
    options.on_reaching = on_reaching;
    options.user = &seen;
    CHECK(er_budget_new(4 * page, &options, &budget, &error) == ER_OK);

    CHECK(er_budget_charge(NULL, 1, &charge, &error) == ER_INVALID_ARGUMENT);
    CHECK(er_budget_charge(budget, 1, NULL, &error) == ER_INVALID_ARGUMENT);
    CHECK(er_budget_charge(budget, page + 1, &charge, &error) == ER_OK);
    CHECK(er_charge_bytes(charge) == 2 * page && er_charge_bytes(NULL) == 0);
    CHECK(seen.times == 0);
    CHECK(er_budget_charge(budget, 3 * page, &other, &error) == ER_LIMIT && other == NULL);
    CHECK(strstr(error.message, "all") != NULL);
    CHECK(er_budget_charge(budget, 1, &other, &error) == ER_OK);
    CHECK(seen.times == 1 && seen.committed == 3 * page);
    er_charge_free(other);
    CHECK(er_budget_charge(budget, 2 * page, &other, &error) == ER_OK && seen.times == 2);
    er_charge_free(other);
    /* A charge keeps its budget. */
    er_budget_free(budget);
    er_charge_free(charge);
    er_charge_free(NULL);
    CHECK(seen.times == 2 && seen.committed == 4 * page);
}

/* A callback that a plain touch has caused. */
static void budgets_of_regions(void)
{
    size_t page = er_page_size();
    struct seen seen = {0};
    er_budget *budget = NULL;
    er_budget_options options = {0};
    options.size = sizeof options;
    options.threshold = 2 * page;
    options.on_reaching = on_reaching;
    options.user = &seen;
    CHECK(er_budget_new(4 * page, &options, &budget, &error) == ER_OK);
    er_region *region = NULL;
    er_region_options charged = {0};
    charged.size = sizeof charged;
    charged.growth_pages = 1;
    charged.budget = budget;
    CHECK(er_region_new(8 * page, &charged, &region, &error) == ER_OK);
    volatile char *base = er_region_base(region);
    base[0] = 1;
    CHECK(seen.times == 0);
    base[page] = 1;
    CHECK(seen.times == 1 && seen.committed == 2 * page);
    CHECK(er_region_release(region, &error) == ER_OK);
    er_budget_free(budget);
}

static void arenas(void)
{
    er_arena *arena = NULL;
    er_arena_options options = {0};
    options.size = sizeof options;
    options.max_bytes = 1 << 30;
    options.commit_limit = 16 * er_page_size();
    CHECK(er_arena_new(&options, &arena, &error) == ER_OK);
    char *block = er_arena_alloc(arena, 100, 64, &error);
    CHECK(block != NULL && (uintptr_t)block % 64 == 0);
    memset(block, 1, 100);
    size_t checkpoint = er_arena_allocated(arena);
    CHECK(er_arena_alloc(arena, 1, 3, &error) == NULL && error.code == ER_INVALID_ARGUMENT);
    CHECK(er_arena_alloc(arena, 17 * er_page_size(), 1, &error) == NULL && error.code == ER_LIMIT);
    CHECK(er_arena_alloc(arena, 8 * er_page_size(), 1, &error) != NULL);
    er_arena_reset_to(arena, checkpoint);
    CHECK(er_arena_allocated(arena) == checkpoint && block[99] == 1);
    er_arena_shrink(arena);
    er_arena_free(arena);
}

/* The default is more than valgrind can reserve. */
static void vast_arenas(void)
{
    er_arena *arena = NULL;
    CHECK(er_arena_new(NULL, &arena, &error) == ER_OK);
    CHECK(er_arena_alloc(arena, 1, 1, &error) != NULL);
    er_arena_free(arena);
}

int main(int count, char **arguments)
{
    int is_quiet = count > 1 && strcmp(arguments[1], "quiet") == 0;
    if (!is_quiet) {
        regions();
        budgets_of_regions();
        vast_arenas();
    }
    reservations();
    budgets();
    vectors();
    arenas();
    CHECK(strcmp(er_code_name(ER_LIMIT), "ER_LIMIT") == 0);
    CHECK(er_allocation_granularity() >= er_page_size());
    return 0;
}
