//! Reservations that keep access.
#![allow(unsafe_code, reason = "touches a committed page")]

use elbowroom::inject::{Call, refuse};
use elbowroom::{Reservation, page_size};

/// The system may refuse a block that is larger than all memory, and permit its pages.
#[test]
fn pages_are_committed_without_their_block_if_that_is_refused() {
    let pool = Reservation::builder(8 << 20).keep_access(true);
    let pool = pool.build().unwrap();
    let is_kept = {
        // Where access is kept, the second page is accessible with the first.
        pool.commit(0..1).unwrap();
        let _plan = refuse(Call::Commit, 1);
        pool.commit(page_size()..2 * page_size()).is_ok()
    };
    let far = 4 << 20..(4 << 20) + 1;
    let plan = refuse(Call::Commit, 1);
    assert_eq!(pool.commit(far.clone()).is_ok(), is_kept);
    drop(plan);
    pool.commit(far).unwrap();
    // SAFETY: the page is committed, and nothing refers to it.
    unsafe { pool.as_ptr().wrapping_add(4 << 20).write(1) };
}
