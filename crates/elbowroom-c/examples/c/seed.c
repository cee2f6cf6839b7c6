/* Microsoft's sample on the native interface: 80 pages are reserved, a plain pointer stores through them, and the
 * filter commits one more page at each page fault. */
#include <stdio.h>
#include <stdlib.h>

#include "elbowroom.h"

#define PAGE_LIMIT 80

static int32_t page_fault_filter(const er_fault *fault, void *user)
{
    size_t *pages = user;
    if (!er_fault_is_page_fault(fault)) {
        printf("Exception code = %d.\n", (int)er_fault_code(fault));
        return ER_DECLINE;
    }
    printf("Exception is a page fault.\n");
    if (*pages >= PAGE_LIMIT) {
        printf("Exception: out of pages.\n");
        return ER_DECLINE;
    }
    printf("Allocating another page.\n");
    *pages += 1;
    return ER_COMMIT;
}

int main(void)
{
    size_t pages = 0;
    size_t page_size = er_page_size();
    printf("This computer has page size %zu.\n", page_size);

    er_region_options options = {0};
    options.size = sizeof options;
    options.growth_pages = 1;
    options.filter = page_fault_filter;
    options.user = &pages;

    er_region *region = NULL;
    er_error error;
    if (er_region_new(PAGE_LIMIT * page_size, &options, &region, &error) != ER_OK) {
        fprintf(stderr, "%s\n", error.message);
        return EXIT_FAILURE;
    }
    char *base = er_region_base(region);
    for (size_t i = 0; i < PAGE_LIMIT * page_size; i++)
        base[i] = 'a';

    er_code released = er_region_release(region, &error);
    printf("Release %s.\n", released == ER_OK ? "succeeded" : "failed");
    return released == ER_OK && pages == PAGE_LIMIT ? EXIT_SUCCESS : EXIT_FAILURE;
}
