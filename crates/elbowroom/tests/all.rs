//! The library's tests, in one program.
//!
//! Separate programs are `crash` and `signals`, whose tests are processes that install their own signal handlers or
//! die; `guest`, which tests other handlers in the process; `events`, because a process has one recorder, which gets
//! every fault; `forks`, which forks while its own threads hold locks; and `injected`, because the cache of containers'
//! memory belongs to the process.

mod common;

mod all {
    mod addresses;
    mod append_vec;
    mod append_vec_model;
    mod append_vec_std;
    mod append_vec_threads;
    mod arena;
    #[cfg(feature = "allocator-api2")]
    mod arena_allocator;
    mod arena_extras;
    mod arena_fallible;
    mod arena_model;
    mod budget;
    mod demand_array;
    mod demand_array_model;
    mod examples;
    mod fill;
    mod filter_threads;
    mod growth;
    mod hazards;
    mod held;
    mod keep_access;
    mod linux;
    mod linux_resident;
    mod model;
    #[cfg(feature = "rayon")]
    mod parallel;
    mod region;
    mod reservation;
    mod reserved_vec;
    mod reserved_vec_as_vec;
    mod reserved_vec_elements;
    mod reserved_vec_model;
    mod reserved_vec_panics;
    mod threads;
    mod userfault;
    mod userfault_served;
    mod windows;
    #[cfg(feature = "zerocopy")]
    mod zerocopy;
}
