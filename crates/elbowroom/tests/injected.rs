//! The system refuses, at each call that the library makes.
//!
//! A program of its own: a container takes over the memory of one that is gone, from whichever thread, and
//! then makes no call that could be refused.
#![cfg(feature = "inject")]

mod common;

mod injected {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    mod arena;
    mod region;
    mod reserved_vec;

    /// Lets one test run at a time: the cache of containers' memory belongs to the process.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
