//! Frames that two threads take and give back, in every order.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::*;
use std::ptr;

/// The exclusive part of a frame. The checker reports an error if two threads use it at once.
struct Stacks([UnsafeCell<usize>; FRAMES_MAX]);

impl Stacks {
    fn new() -> Arc<Stacks> {
        Arc::new(Stacks([(); FRAMES_MAX].map(|()| UnsafeCell::new(0))))
    }

    /// Uses a frame that the caller has taken.
    fn visit(&self, taken: &Taken) {
        let index = FRAMES
            .iter()
            .position(|frame| ptr::eq(frame, taken.0))
            .unwrap();
        // SAFETY: the checker objects if another thread is here.
        self.0[index].with_mut(|visits| unsafe { *visits += 1 });
    }
}

#[test]
fn a_frame_has_one_thread_and_no_other_thread_sees_it() {
    loom::model(|| {
        let (stacks, region, elsewhere) = (Stacks::new(), OwnerId::of(&1u8), OwnerId::of(&2u16));
        let visit = |stacks: &Stacks, mine: OwnerId, theirs: OwnerId, work| {
            let taken = Taken::take(mine, work).unwrap();
            stacks.visit(&taken);
            assert!(is_inside_fault_of(mine) && !is_inside_filter_of(theirs));
            assert_eq!(
                (is_inside_filter_of(mine), count_mine_for(mine)),
                (work == Work::Filter, 1)
            );
            drop(taken);
            assert!(!is_inside_fault_of(mine));
        };
        let other = {
            let stacks = Arc::clone(&stacks);
            thread::spawn(move || visit(&stacks, elsewhere, region, Work::Callback))
        };
        visit(&stacks, region, elsewhere, Work::Filter);
        other.join().unwrap();
        assert!(
            FRAMES
                .iter()
                .all(|frame| frame.thread.load(Ordering::Relaxed) == 0)
        );
    });
}

#[test]
fn a_thread_waits_for_a_frame_unless_it_has_one_already() {
    loom::model(|| {
        let (stacks, region) = (Stacks::new(), OwnerId::of(&1u8));
        // There are two frames. This thread holds one and takes another; the other thread takes one.
        let outer = Taken::take(region, Work::Filter).unwrap();
        stacks.visit(&outer);
        let other = {
            let stacks = Arc::clone(&stacks);
            thread::spawn(move || stacks.visit(&Taken::take(region, Work::Filter).unwrap()))
        };
        match Taken::take(region, Work::Filter) {
            Ok(inner) => {
                stacks.visit(&inner);
                assert_eq!(count_mine_for(region), 2);
            }
            Err(cause) => assert_eq!(cause, Reason::TooManyFilters.into()),
        }
        drop(outer);
        other.join().unwrap();
        assert_eq!(count_mine_for(region), 0);
    });
}
