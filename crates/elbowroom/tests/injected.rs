//! The system refuses each call that the library makes.
//!
//! This is a separate program: a container may take over the memory of a dropped one, from any thread, and then makes
//! no call that could be refused.
#![cfg(feature = "inject")]

mod common;

mod injected {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    mod arena;
    mod region;
    mod reservation;
    mod reserved_vec;

    /// Lets one test run at a time: the cache of containers' memory belongs to the process.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
