//! `AppendVec` on several threads: each thread finds its own elements, slices only grow, and at the end the vector has
//! every pushed element once and no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arbitrary::Arbitrary;
use elbowroom::AppendVec;

use crate::element::{self, with_fuse};
use crate::refusal::{self, Limits, Refusal};
use crate::steps::Steps;

const THREADS: usize = 3;

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    /// The maximum length, divided by 4.
    max_len: u8,
    limits: Limits,
    steps: Steps<Step>,
}

#[derive(Arbitrary, Debug)]
struct Step {
    /// The thread that does the step.
    thread: u8,
    deed: Deed,
    /// The system call that fails during the step.
    refusal: Option<Refusal>,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Push,
    PushMany(u8),
    /// Pushes `inside` values in a closure, which then returns or panics.
    PushWith {
        inside: u8,
        panics: bool,
    },
    Reserve(u8),
    Look,
}

/// An element: its thread and its number in that thread, stored twice so that a torn element is noticed.
struct Entry {
    thread: usize,
    number: usize,
    again: [usize; 6],
    alive: Arc<AtomicUsize>,
}

impl Entry {
    fn is_whole(&self) -> bool {
        self.again == [self.thread.wrapping_mul(1000) ^ self.number; 6]
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        assert!(self.is_whole());
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A thread and the elements that it has pushed.
struct Pusher<'a> {
    vec: &'a AppendVec<Entry>,
    thread: usize,
    alive: &'a Arc<AtomicUsize>,
    made: usize,
    // The index and the number of each pushed element.
    pushed: Vec<(usize, usize)>,
    // The length of the longest slice seen.
    seen: usize,
}

impl Pusher<'_> {
    fn entry(&mut self) -> Entry {
        self.made += 1;
        let number = self.made;
        self.alive.fetch_add(1, Ordering::Relaxed);
        let again = [self.thread.wrapping_mul(1000) ^ number; 6];
        Entry {
            thread: self.thread,
            number,
            again,
            alive: Arc::clone(self.alive),
        }
    }

    /// Pushes an element, and checks that it is stored and visible.
    fn push(&mut self) -> Result<(), elbowroom::Error> {
        let entry = self.entry();
        let number = entry.number;
        let (index, stored) = self.vec.try_push(entry)?;
        assert!(stored.is_whole() && (stored.thread, stored.number) == (self.thread, number));
        // A thread sees its own element at once.
        assert!(
            self.vec
                .get(index)
                .is_some_and(|found| std::ptr::eq(found, stored))
        );
        self.pushed.push((index, number));
        Ok(())
    }

    fn step(&mut self, deed: &Deed) -> Result<(), elbowroom::Error> {
        match *deed {
            Deed::Push => self.push(),
            Deed::PushMany(count) => (0..count).try_for_each(|_| self.push()),
            Deed::PushWith { inside, panics } => {
                let vec = self.vec;
                let mut number = 0;
                let pushed = with_fuse(0, || {
                    vec.try_push_with(|index| {
                        // A refusal is allowed; the contents are checked at the end.
                        let _ = (0..inside % 8).try_for_each(|_| self.push());
                        assert!(vec.len() <= index, "shown before it is finished");
                        if panics {
                            element::blow();
                        }
                        let entry = self.entry();
                        number = entry.number;
                        entry
                    })
                    .map(|(index, _)| index)
                });
                if let Some(pushed) = pushed {
                    self.pushed.push((pushed?, number));
                }
                Ok(())
            }
            Deed::Reserve(additional) => self.vec.try_reserve(additional.into()),
            Deed::Look => {
                let slice = self.vec.as_slice();
                assert!(slice.len() >= self.seen && slice.iter().all(Entry::is_whole));
                self.seen = slice.len();
                Ok(())
            }
        }
    }
}

/// Runs the operations of the input, and panics if container and model differ.
pub fn run(input: Input) {
    let alive = Arc::new(AtomicUsize::new(0));
    let budget = input.limits.budget();
    let builder = input
        .limits
        .apply(AppendVec::builder(usize::from(input.max_len) * 4), &budget);
    let vec = builder.build().expect("a small vector");
    let work = &|thread: usize| {
        let mut pusher = Pusher {
            vec: &vec,
            thread,
            alive: &alive,
            made: 0,
            pushed: Vec::new(),
            seen: 0,
        };
        for Step { deed, refusal, .. } in input
            .steps
            .0
            .iter()
            .filter(|step| usize::from(step.thread) % THREADS == thread)
        {
            let plan = refusal.map(Refusal::plan);
            if let Err(error) = pusher.step(deed) {
                refusal::check(&error, plan.as_ref());
            }
        }
        pusher.pushed
    };
    let pushed = thread::scope(|scope| {
        let pushers = (0..THREADS)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect::<Vec<_>>();
        pushers
            .into_iter()
            .map(|pusher| pusher.join().expect("no panic"))
            .collect::<Vec<_>>()
    });
    let count = pushed.iter().map(Vec::len).sum::<usize>();
    assert_eq!(alive.load(Ordering::Relaxed), count);
    for (thread, pushed) in pushed.iter().enumerate() {
        for &(index, number) in pushed {
            let entry = vec.get(index).expect("pushed, so there");
            assert_eq!((entry.thread, entry.number), (thread, number));
        }
    }
    // A slice ends before the first index whose closure panicked.
    assert!(vec.len() <= count && vec.as_slice().iter().all(Entry::is_whole));
    let mut each = vec
        .into_iter()
        .map(|entry| (entry.thread, entry.number))
        .collect::<Vec<_>>();
    each.sort_unstable();
    let numbered = |(thread, pushed): (usize, &Vec<(usize, usize)>)| {
        pushed
            .iter()
            .map(|&(_, number)| (thread, number))
            .collect::<Vec<_>>()
    };
    let mut expected = pushed
        .iter()
        .enumerate()
        .flat_map(numbered)
        .collect::<Vec<_>>();
    expected.sort_unstable();
    assert_eq!(each, expected);
    assert_eq!(
        (alive.load(Ordering::Relaxed), budget.committed_bytes()),
        (0, 0)
    );
}
