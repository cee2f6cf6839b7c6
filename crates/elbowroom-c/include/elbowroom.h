/* The C interface of elbowroom: reserve address space once, commit pages when they are touched, never move the data.
 *
 * Made by `cargo xtask header`; do not edit. Sizes and offsets are in bytes. Handles are opaque. A function that can
 * fail returns an `er_code` and fills the `er_error` that it is given, unless that is NULL.
 */

#ifndef ELBOWROOM_H
#define ELBOWROOM_H

#include <stddef.h>
#include <stdint.h>

// The size of a message in bytes, including the zero byte at its end.
#define ER_MESSAGE_BYTES 512

// The region asks for no huge pages (Linux).
#define ER_REGION_NO_HUGE_PAGES 1

// A refused touch through a plain pointer writes no line to standard error.
#define ER_REGION_QUIET 2

// Core dumps leave out the committed pages (Linux).
#define ER_REGION_NO_CORE_DUMPS 4

// The result of an operation: success, or the reason of the failure.
enum er_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // The operation succeeded.
  ER_OK = 0,
  // An argument is null or invalid.
  ER_INVALID_ARGUMENT = 1,
  // The range is empty, inverted, or not inside the object.
  ER_INVALID_RANGE = 2,
  // An alignment is not a power of two, or an address not a multiple of it.
  ER_INVALID_ALIGNMENT = 3,
  // A limit that the program set refused: a commit limit, a budget or a maximum.
  ER_LIMIT = 4,
  // The filter of the region declined.
  ER_DECLINED = 5,
  // The system has no more memory, commit charge or address space.
  ER_OUT_OF_MEMORY = 6,
  // The process has as many mappings as the system allows (Linux: vm.max_map_count).
  ER_OUT_OF_MAPPINGS = 7,
  // Something else lies at the address.
  ER_ADDRESS_IN_USE = 8,
  // A page is not committed.
  ER_NOT_COMMITTED = 9,
  // The page is committed, and its protection forbids the access.
  ER_PROTECTED = 10,
  // The platform lacks the operation.
  ER_UNSUPPORTED = 11,
  // The system refused for another reason; `os_code` says which.
  ER_OS = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum er_code er_code;
#else
typedef int32_t er_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The access of the instruction that faulted.
enum er_access
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Reading.
  ER_READ = 0,
  // Writing.
  ER_WRITE = 1,
  // Fetching an instruction.
  ER_EXECUTE = 2,
  // An access without a name in this version.
  ER_OTHER_ACCESS = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum er_access er_access;
#else
typedef int32_t er_access;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The way in which pages are committed when they are touched. `ER_PROTECTION` is the default.
enum er_backend
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Reserved pages are inaccessible (mprotect, VirtualAlloc).
  ER_PROTECTION = 0,
  // userfaultfd that raises SIGBUS (Linux). A region is one mapping, however scattered its committed pages are.
  ER_USERFAULT = 1,
  // userfaultfd that the region's threads serve (Linux). System calls may touch reserved pages.
  ER_USERFAULT_MONITOR = 2,
  // `ER_USERFAULT` if the system allows it, otherwise `ER_PROTECTION`.
  ER_AUTO = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum er_backend er_backend;
#else
typedef int32_t er_backend;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The answer of a filter. Any other number declines.
enum er_verdict
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Refuse the touch.
  ER_DECLINE = 0,
  // Commit the page, within the region's limits, and run the instruction that faulted again.
  ER_COMMIT = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum er_verdict er_verdict;
#else
typedef int32_t er_verdict;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The access to committed pages.
enum er_protection
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // No access: a touch faults.
  ER_NO_ACCESS = 0,
  // Reading.
  ER_READ_ONLY = 1,
  // Reading and writing.
  ER_READ_WRITE = 2,
  // Reading and executing.
  ER_READ_EXECUTE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum er_protection er_protection;
#else
typedef int32_t er_protection;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// An arena. One thread at a time may use it.
typedef struct er_arena er_arena;

// A budget. Thread-safe. Objects and charges keep their budget alive, so the handle may be freed before them.
typedef struct er_budget er_budget;

// A charge to a budget for memory that the library does not commit, such as a buffer of the program's own allocator or
// a mapped file.
typedef struct er_charge er_charge;

// A fault that a filter is asked about. Valid until the filter returns.
typedef struct er_fault er_fault;

// A region. Thread-safe, except for `er_region_release`.
//
// If a limit or the filter refuses a touch through a pointer, the signal goes to the handler of SIGSEGV or SIGBUS that
// was installed before the first region. That handler may leave by siglongjmp: the library does not wait for its
// return. Install it with SA_ONSTACK, and use sigsetjmp(buffer, 1); docs/C.md has the rules. On Windows, the next
// exception handler is asked.
typedef struct er_region er_region;

// A reservation. Thread-safe, except for `er_reservation_release`.
typedef struct er_reservation er_reservation;

// A vector of bytes. One thread at a time may use it. Its bytes never move, so a pointer to a byte is valid for as
// long as the byte is in the vector.
typedef struct er_vec er_vec;

// The options of an arena. Set `size` to the size of the structure. Zero in any other member selects the default.
typedef struct er_arena_options {
  // The size of this structure in bytes.
  size_t size;
  // The maximum in bytes, for which addresses are reserved. 0 means 64 GiB.
  size_t max_bytes;
  // The commit limit in bytes, rounded down to whole pages. 0 means the maximum.
  size_t commit_limit;
  // The budget to charge, or null.
  const struct er_budget *budget;
  // A name for diagnosis, or null. The library copies it.
  const char *name;
} er_arena_options;

// A failure. A function fills it if it fails, and leaves it unchanged otherwise.
typedef struct er_error {
  // The code that the function returned.
  er_code code;
  // The number of the system's error: errno, or GetLastError on Windows. 0 if the system did not refuse.
  int32_t os_code;
  // The offset of the first byte for which the operation failed.
  size_t offset;
  // The number of bytes from there on.
  size_t size;
  // The operation, the reason of the failure and a remedy, in UTF-8, truncated if it is too long.
  char message[ER_MESSAGE_BYTES];
} er_error;

// Called each time the committed bytes of a budget rise from below the threshold to the threshold or more. It runs
// after the commit, on the thread that committed. After a page fault, it runs in the middle of the touch, under the
// rules of `er_filter`. Several threads may call it at once.
//
// `budget` is valid until it returns, and must not be freed through this pointer.
typedef void (*er_budget_callback)(const struct er_budget *budget, void *user);

// The options of a budget. Set `size` to the size of the structure. Zero in any other member selects the default.
typedef struct er_budget_options {
  // The size of this structure in bytes.
  size_t size;
  // The parent, or null. Charges to this budget are also charged to the parent.
  const struct er_budget *parent;
  // A name for messages, or null. The library copies it.
  const char *name;
  // The number of committed bytes at which `on_reaching` is called, rounded up to whole pages.
  size_t threshold;
  // The function to call when the threshold is reached, or null.
  er_budget_callback on_reaching;
  // The pointer that is passed to `on_reaching`. It must stay valid as long as the budget lives.
  void *user;
} er_budget_options;

// The figures of a budget.
typedef struct er_budget_stats {
  // The limit in bytes.
  size_t limit;
  // The number of bytes committed now.
  size_t committed;
  // The largest number of bytes that was charged at once.
  size_t peak;
  // The number of bytes that may still be committed before this budget or one above it refuses.
  size_t available;
} er_budget_stats;

// Decides about a fault, and returns an `er_verdict`. It runs on the faulting thread, in the middle of the touch, on a
// separate stack of at least 128 KiB (on Windows, on the thread's own). Several threads may call it at once.
//
// It may call `er_region_commit`, `er_region_decommit` and `er_region_get_stats` for its own region, and may touch
// committed pages of it. If the touch may come from inside the allocator, the filter must not allocate.
//
// It must return: neither longjmp nor a C++ exception may leave it. Otherwise its stack is lost, and the region
// refuses the next touches of this thread. To jump, decline the touch, and leave the handler that then receives the
// signal.
typedef int32_t (*er_filter)(const struct er_fault *fault, void *user);

// The options of a region. Set `size` to the size of the structure. Zero in any other member selects the default.
typedef struct er_region_options {
  // The size of this structure in bytes.
  size_t size;
  // The commit limit in bytes, rounded down to whole pages. 0 means the whole region.
  size_t commit_limit;
  // The budget to charge, or null.
  const struct er_budget *budget;
  // The number of pages in the aligned window that a fault commits. 0 selects a window that adapts to the program's
  // accesses.
  size_t growth_pages;
  // The size of the largest adaptive window, in bytes. 0 means 2 MiB.
  size_t growth_max_bytes;
  // An `er_backend`.
  int32_t backend;
  // Any of the `ER_REGION_` flags, combined by `|`.
  uint32_t flags;
  // The filter. With null, every touch is committed.
  er_filter filter;
  // The pointer that is passed to the filter. It must stay valid as long as the region lives.
  void *user;
  // The number of threads that the region starts for its filter. With 0, the filter runs on the faulting thread.
  size_t filter_threads;
  // A name for messages, or null. The library copies it.
  const char *name;
} er_region_options;

// The memory and the faults of a region. Counts begin when the region is made.
typedef struct er_region_stats {
  // The length of the region in bytes.
  size_t reserved;
  // The number of bytes committed now.
  size_t committed;
  // The commit limit in bytes.
  size_t commit_limit;
  // The number of faults.
  uint64_t faults;
  // The number of times that pages were committed.
  uint64_t commits;
  // The number of faults that were refused.
  uint64_t refused;
} er_region_stats;

// A run of pages in the same state.
typedef struct er_span {
  // The offset of the first byte from the base.
  size_t offset;
  // The number of bytes.
  size_t size;
  // 1 if the pages are committed, 0 if they are only reserved.
  int32_t committed;
} er_span;

// The options of a reservation. Set `size` to the size of the structure. Zero in any other member selects the default.
typedef struct er_reservation_options {
  // The size of this structure in bytes.
  size_t size;
  // The alignment of the base in bytes, a power of two. 0 means the system's.
  size_t align;
  // The exact address of the base, or null. Existing mappings are never replaced.
  void *at;
  // The preferred address of the base, which is used if it is free; or null.
  void *near_to;
  // The budget to charge, or null.
  const struct er_budget *budget;
  // A name for diagnosis, or null. The library copies it.
  const char *name;
} er_reservation_options;

// The options of a vector. Set `size` to the size of the structure. Zero in any other member selects the default.
typedef struct er_vec_options {
  // The size of this structure in bytes.
  size_t size;
  // The commit limit in bytes, rounded down to whole pages. 0 means the maximum.
  size_t commit_limit;
  // The budget to charge, or null.
  const struct er_budget *budget;
  // A name for diagnosis, or null. The library copies it.
  const char *name;
} er_vec_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the size of a page in bytes.
size_t er_page_size(void);

// Returns the alignment of a reservation's base in bytes.
size_t er_allocation_granularity(void);

// Makes an arena. The options may be null.
//
// # Safety
// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
// null or valid.
er_code er_arena_new(const struct er_arena_options *options,
                     struct er_arena **out,
                     struct er_error *error);

// Frees the arena and everything that was allocated from it. Ignores null.
//
// # Safety
// `arena` is null or a living arena. Neither it nor its memory is used afterwards.
void er_arena_free(struct er_arena *arena);

// Allocates `size` bytes at a multiple of `align`, a power of two. The memory is not initialised. Returns null on
// failure, and fills the error.
//
// # Safety
// `arena` is null or a living arena that no other thread uses at the same time; `error` is null or valid.
void *er_arena_alloc(struct er_arena *arena,
                     size_t size,
                     size_t align,
                     struct er_error *error);

// Returns the number of allocated bytes, which is a checkpoint for `er_arena_reset_to`. Returns 0 for null.
//
// # Safety
// `arena` is null or a living arena that no other thread uses at the same time.
size_t er_arena_allocated(const struct er_arena *arena);

// Frees everything that was allocated after a checkpoint. The checkpoint 0 frees everything. Pages stay committed for
// later allocations. Ignores null.
//
// # Safety
// `arena` is null or a living arena that no other thread uses at the same time. Blocks allocated after the checkpoint
// are not used afterwards.
void er_arena_reset_to(struct er_arena *arena,
                       size_t checkpoint);

// Decommits the pages behind the last allocated byte. Ignores null.
//
// # Safety
// `arena` is null or a living arena that no other thread uses at the same time.
void er_arena_shrink(struct er_arena *arena);

// Makes a budget of `bytes`, rounded down to whole pages. The options may be null.
//
// # Safety
// `options` is null or valid, its parent null or living, its name null or a string, and its callback keeps the rules
// of `er_budget_callback`. `out` is valid, and `error` null or valid.
er_code er_budget_new(size_t bytes,
                      const struct er_budget_options *options,
                      struct er_budget **out,
                      struct er_error *error);

// Frees the handle. Ignores null.
//
// # Safety
// `budget` is null or a living budget, which the program does not use again.
void er_budget_free(struct er_budget *budget);

// Returns the figures of the budget; zeros for null.
//
// # Safety
// `budget` is null or a living budget.
struct er_budget_stats er_budget_get_stats(const struct er_budget *budget);

// Charges `bytes`, rounded up to whole pages, to the budget and all budgets above it, or to none of them.
//
// # Safety
// `budget` is null or a living budget, `out` valid, `error` null or valid.
er_code er_budget_charge(const struct er_budget *budget,
                         size_t bytes,
                         struct er_charge **out,
                         struct er_error *error);

// Refunds the charge. Ignores null.
//
// # Safety
// `charge` is null or a living charge, which the program does not use again.
void er_charge_free(struct er_charge *charge);

// Returns the number of charged bytes, a whole number of pages; 0 for null.
//
// # Safety
// `charge` is null or a living charge.
size_t er_charge_bytes(const struct er_charge *charge);

// Returns the name of a code, such as `"ER_LIMIT"`. It lives as long as the program.
const char *er_code_name(int32_t code);

// Returns 1 if a touch of an uncommitted page reaches its region, as far as the system tells. Returns 0 if another
// handler has displaced the library's, or if a thread blocks SIGSEGV or SIGBUS.
int32_t er_fault_handler_is_good(void);

// Puts the fault handler of the library in front of all others again. Call it after other code has installed a handler
// that does not forward faults. Without a living region it does nothing.
//
// # Safety
// `error` is null or valid.
er_code er_fault_handler_reinstall(struct er_error *error);

// Returns the address that was touched.
//
// # Safety
// `fault` is the pointer that the library passed to a filter that has not returned.
void *er_fault_address(const struct er_fault *fault);

// Returns the offset of the byte that was touched, from the base of the region.
//
// # Safety
// `fault` is the pointer that the library passed to a filter that has not returned.
size_t er_fault_offset(const struct er_fault *fault);

// Returns the kind of access.
//
// # Safety
// `fault` is the pointer that the library passed to a filter that has not returned.
er_access er_fault_access(const struct er_fault *fault);

// Returns the number of the signal, or the exception code as the signed number that Windows programs print.
//
// # Safety
// `fault` is the pointer that the library passed to a filter that has not returned.
int32_t er_fault_code(const struct er_fault *fault);

// Returns 1 if the fault is a touch of an uncommitted page, which a commit resolves, and 0 otherwise.
//
// # Safety
// `fault` is the pointer that the library passed to a filter that has not returned.
int32_t er_fault_is_page_fault(const struct er_fault *fault);

// Returns the number of committed bytes of the region.
//
// # Safety
// `fault` is the pointer that the library passed to a filter that has not returned.
size_t er_fault_committed(const struct er_fault *fault);

// Commits the window of the fault, as the verdict `ER_COMMIT` would, and returns an error if that fails.
//
// # Safety
// `fault` is the pointer that the library passed to a filter that has not returned; `error` is null or valid.
er_code er_fault_commit(const struct er_fault *fault,
                        struct er_error *error);

// Reserves `len` bytes, rounded up to whole pages, that commit on touch. The options may be null.
//
// # Safety
// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
// null or valid. The filter keeps the rules of `er_filter`.
er_code er_region_new(size_t len,
                      const struct er_region_options *options,
                      struct er_region **out,
                      struct er_error *error);

// Gives everything back to the system. The handle is invalid afterwards, even on a failure. In the region's own
// filter, this fails, and the pages stay until the process ends. Ignores null.
//
// # Safety
// `region` is null or a living region that no thread uses afterwards. `error` is null or valid.
er_code er_region_release(struct er_region *region,
                          struct er_error *error);

// Returns the address of the first byte; null for null.
//
// # Safety
// `region` is null or a living region.
void *er_region_base(const struct er_region *region);

// Returns the length in bytes; 0 for null.
//
// # Safety
// `region` is null or a living region.
size_t er_region_len(const struct er_region *region);

// Commits the pages of a range, within the limits, without asking the filter.
//
// # Safety
// `region` is null or a living region, `error` null or valid.
er_code er_region_commit(const struct er_region *region,
                         size_t offset,
                         size_t size,
                         struct er_error *error);

// Decommits the pages of a range. Their contents are lost.
//
// # Safety
// `region` is null or a living region, `error` null or valid. No other thread is using the pages.
er_code er_region_decommit(const struct er_region *region,
                           size_t offset,
                           size_t size,
                           struct er_error *error);

// Writes `size` bytes from `from` into the region. A refused touch is an error. The bytes before the error's `offset`
// were written, and none after it.
//
// # Safety
// `region` is null or a living region, `from` valid for reading `size` bytes, none of which is in the region; `error`
// is null or valid.
er_code er_region_write(const struct er_region *region,
                        size_t offset,
                        const void *from,
                        size_t size,
                        struct er_error *error);

// Reads `size` bytes of the region into `to`. A refused touch is an error. The bytes before the error's `offset` were
// read, and the rest of `to` is unchanged.
//
// # Safety
// `region` is null or a living region, `to` valid for writing `size` bytes, none of which is in the region; `error` is
// null or valid.
er_code er_region_read(const struct er_region *region,
                       size_t offset,
                       void *to,
                       size_t size,
                       struct er_error *error);

// Sets `size` bytes of the region to `byte`. A refused touch is an error.
//
// # Safety
// `region` is null or a living region, `error` null or valid.
er_code er_region_fill(const struct er_region *region,
                       size_t offset,
                       size_t size,
                       uint8_t byte,
                       struct er_error *error);

// Returns the memory and the faults of the region; zeros for null.
//
// # Safety
// `region` is null or a living region.
struct er_region_stats er_region_get_stats(const struct er_region *region);

// Writes the first `capacity` runs of pages in the same state to `spans`, and returns the number of all runs.
//
// # Safety
// `region` is null or a living region; `spans` is valid for writing `capacity` elements.
size_t er_region_get_spans(const struct er_region *region,
                           struct er_span *spans,
                           size_t capacity);

// Reserves `len` bytes, rounded up to whole pages. The options may be null.
//
// # Safety
// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
// null or valid.
er_code er_reservation_new(size_t len,
                           const struct er_reservation_options *options,
                           struct er_reservation **out,
                           struct er_error *error);

// Gives everything back to the system. The handle is invalid afterwards, even on a failure. Ignores null.
//
// # Safety
// `reservation` is null or a living reservation that no thread uses afterwards. `error` is null or valid.
er_code er_reservation_release(struct er_reservation *reservation,
                               struct er_error *error);

// Returns the address of the first byte; null for null.
//
// # Safety
// `reservation` is null or a living reservation.
void *er_reservation_base(const struct er_reservation *reservation);

// Returns the length in bytes; 0 for null.
//
// # Safety
// `reservation` is null or a living reservation.
size_t er_reservation_len(const struct er_reservation *reservation);

// Commits the pages of a range. Pages that were reserved are zero; committed pages keep their contents.
//
// # Safety
// `reservation` is null or a living reservation, `error` null or valid.
er_code er_reservation_commit(const struct er_reservation *reservation,
                              size_t offset,
                              size_t size,
                              struct er_error *error);

// Decommits the pages of a range. Their contents are lost.
//
// # Safety
// `reservation` is null or a living reservation, `error` null or valid. No thread is using the pages.
er_code er_reservation_decommit(const struct er_reservation *reservation,
                                size_t offset,
                                size_t size,
                                struct er_error *error);

// Sets the access to the committed pages of a range: an `er_protection`.
//
// # Safety
// `reservation` is null or a living reservation, `error` null or valid.
er_code er_reservation_protect(const struct er_reservation *reservation,
                               size_t offset,
                               size_t size,
                               int32_t protection,
                               struct er_error *error);

// Makes a vector of at most `max` bytes, for which it reserves addresses. The options may be null.
//
// # Safety
// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
// null or valid.
er_code er_vec_new(size_t max,
                   const struct er_vec_options *options,
                   struct er_vec **out,
                   struct er_error *error);

// Frees the vector and its bytes. Ignores null.
//
// # Safety
// `vec` is null or a living vector. Neither it nor its bytes are used afterwards.
void er_vec_free(struct er_vec *vec);

// Returns the address of the first byte, which never changes. Returns null for null.
//
// # Safety
// `vec` is null or a living vector that no other thread uses at the same time.
void *er_vec_data(struct er_vec *vec);

// Returns the number of bytes; 0 for null.
//
// # Safety
// `vec` is null or a living vector that no other thread changes at the same time.
size_t er_vec_len(const struct er_vec *vec);

// Appends `size` bytes, which may be bytes of the vector. If it fails, the vector is unchanged.
//
// # Safety
// `vec` is null or a living vector that no other thread uses at the same time; `from` is valid for reading `size`
// bytes; `error` is null or valid.
er_code er_vec_append(struct er_vec *vec,
                      const void *from,
                      size_t size,
                      struct er_error *error);

// Makes the vector `len` bytes long. New bytes are zero. If it fails, the vector is unchanged.
//
// # Safety
// `vec` is null or a living vector that no other thread uses at the same time. Bytes from `len` on are not used
// afterwards. `error` is null or valid.
er_code er_vec_resize(struct er_vec *vec,
                      size_t len,
                      struct er_error *error);

// Commits room for `additional` more bytes, so that appending them cannot fail.
//
// # Safety
// `vec` is null or a living vector that no other thread uses at the same time; `error` is null or valid.
er_code er_vec_reserve(struct er_vec *vec,
                       size_t additional,
                       struct er_error *error);

// Decommits the pages behind the last byte. Ignores null.
//
// # Safety
// `vec` is null or a living vector that no other thread uses at the same time.
void er_vec_shrink(struct er_vec *vec);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ELBOWROOM_H */
