// A limit for each tenant: the containers of std::pmr take their memory from an arena with a budget. A tenant that wants
// more gets std::bad_alloc, and the others go on.
#include <cstdio>
#include <memory_resource>
#include <new>
#include <string>
#include <vector>

#include "elbowroom.h"

class Arena final : public std::pmr::memory_resource {
public:
    Arena(const char *name, size_t bytes)
    {
        er_error error;
        er_budget_options limits{};
        limits.size = sizeof limits;
        limits.name = name;
        if (er_budget_new(bytes, &limits, &budget, &error) != ER_OK)
            throw std::bad_alloc();
        er_arena_options options{};
        options.size = sizeof options;
        options.max_bytes = size_t{1} << 30; // addresses; the budget limits the memory
        options.budget = budget;
        options.name = name;
        if (er_arena_new(&options, &arena, &error) != ER_OK) {
            er_budget_free(budget);
            throw std::bad_alloc();
        }
    }
    ~Arena() override
    {
        er_arena_free(arena);
        er_budget_free(budget);
    }
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;

    const char *why() const { return error.message; }

private:
    void *do_allocate(size_t bytes, size_t alignment) override
    {
        void *block = er_arena_alloc(arena, bytes, alignment, &error);
        if (block == nullptr)
            throw std::bad_alloc();
        return block;
    }
    // The whole arena is given back at once.
    void do_deallocate(void *, size_t, size_t) override {}
    bool do_is_equal(const memory_resource &other) const noexcept override { return this == &other; }

    er_budget *budget = nullptr;
    er_arena *arena = nullptr;
    er_error error{};
};

int main()
{
    Arena first("tenant 0", 1 << 20);
    Arena second("tenant 1", 1 << 20);
    std::pmr::vector<int> modest(&first);
    std::pmr::vector<std::pmr::string> greedy(&second);
    modest.push_back(1);
    try {
        for (;;)
            greedy.emplace_back("a text that is too long for the string itself to hold");
    } catch (const std::bad_alloc &) {
        std::printf("tenant 1 is refused: %s\n", second.why());
    }
    modest.push_back(2);
    std::printf("tenant 0 goes on\n");
    return modest.size() == 2 ? 0 : 1;
}
