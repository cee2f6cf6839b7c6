//! Pushes, refusals and readers, in every order of two or three threads.

#![allow(unsafe_code, reason = "elements that the model checker watches")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::*;

/// A vector whose elements the model checker watches: a read beside a write is an error, and so are two writes, and a
/// read of an element that was never written.
struct Model {
    claims: Claims,
    slots: Few,
}

struct Few {
    elements: [UnsafeCell<usize>; 4],
    flags: [AtomicU8; 4],
    capacity: AtomicUsize,
    // The largest number of elements that there will be storage for.
    limit: AtomicUsize,
}

impl Slots for Few {
    type Error = ();

    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Acquire)
    }

    fn grow(&self, needed: usize) -> Result<(), ()> {
        if needed > self.limit.load(Ordering::Relaxed) {
            return Err(());
        }
        self.capacity.fetch_max(needed, Ordering::Release);
        Ok(())
    }

    fn flag(&self, index: usize) -> &AtomicU8 {
        assert!(index < self.capacity(), "a flag without storage");
        &self.flags[index]
    }
}

impl Model {
    fn new(capacity: usize, limit: usize) -> Arc<Model> {
        let claims = Claims {
            next: Padded(AtomicUsize::new(0)),
            published: Padded(AtomicUsize::new(0)),
            open: Padded(AtomicUsize::new(capacity)),
            holes: Holes::new(),
        };
        let slots = Few {
            elements: std::array::from_fn(|_| UnsafeCell::new(0)),
            flags: std::array::from_fn(|_| AtomicU8::new(0)),
            capacity: AtomicUsize::new(capacity),
            limit: AtomicUsize::new(limit),
        };
        Arc::new(Model { claims, slots })
    }

    fn push(&self, value: usize) -> Result<usize, ()> {
        let index = self.claims.claim(&self.slots)?;
        assert!(index < self.slots.capacity(), "an index without storage");
        // SAFETY: the checker objects if another thread is here.
        self.slots.elements[index].with_mut(|element| unsafe {
            assert_eq!(*element, 0, "written twice");
            *element = value;
        });
        self.claims.publish(index, &self.slots);
        Ok(index)
    }

    /// Pushes the values at consecutive indices.
    fn push_run(&self, values: &[usize]) -> Result<usize, ()> {
        let first = self.claims.claim_run(values.len(), &self.slots)?;
        let indices = first..first + values.len();
        assert!(
            indices.end <= self.slots.capacity(),
            "an index without storage"
        );
        for (index, &value) in indices.clone().zip(values) {
            // SAFETY: the checker objects if another thread is here.
            self.slots.elements[index].with_mut(|element| unsafe {
                assert_eq!(*element, 0, "written twice");
                *element = value;
            });
        }
        self.claims.publish_run(indices, &self.slots);
        Ok(first)
    }

    fn read(&self, index: usize) -> usize {
        // SAFETY: the checker objects if a thread writes meanwhile.
        let value = self.slots.elements[index].with(|element| unsafe { *element });
        assert_ne!(value, 0, "never written");
        value
    }

    /// Returns the elements that a slice would show.
    fn slice(&self) -> Vec<usize> {
        (0..self.claims.published(&self.slots))
            .map(|index| self.read(index))
            .collect()
    }

    fn get(&self, index: usize) -> Option<usize> {
        self.claims
            .is_finished(index, &self.slots)
            .then(|| self.read(index))
    }
}

fn spawn(model: &Arc<Model>, run: impl FnOnce(&Model) + 'static) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || run(&model))
}

fn sorted(mut values: Vec<usize>) -> Vec<usize> {
    values.sort_unstable();
    values
}

#[test]
fn pushes_are_seen_whole_and_for_good() {
    loom::model(|| {
        let model = Model::new(4, 4);
        let pushers = [1, 2].map(|value| {
            spawn(&model, move |model| {
                let index = model.push(value).unwrap();
                // A thread finds its own element by the index.
                assert_eq!(model.get(index), Some(value));
            })
        });
        let first = model.slice();
        let second = model.slice();
        assert!(second.starts_with(&first), "{first:?} then {second:?}");
        pushers
            .into_iter()
            .for_each(|pusher| pusher.join().unwrap());
        assert_eq!(sorted(model.slice()), [1, 2]);
    });
}

#[test]
fn an_index_shows_an_element_whole_or_not_at_all() {
    loom::model(|| {
        let model = Model::new(4, 4);
        let pushers = [1, 2].map(|value| spawn(&model, move |model| _ = model.push(value)));
        let seen = model.get(1);
        assert!(model.get(1).is_some() || seen.is_none());
        if let Some(first) = model.get(0) {
            assert_eq!(model.slice()[0], first);
        }
        pushers
            .into_iter()
            .for_each(|pusher| pusher.join().unwrap());
    });
}

#[test]
fn a_thread_that_pushes_twice_sees_both_if_no_push_is_in_between() {
    loom::model(|| {
        let model = Model::new(4, 4);
        let other = spawn(&model, |model| {
            let index = model.push(1).unwrap();
            // If everything before the element has finished, it is shown. Otherwise something before it has not
            // finished.
            let shown = model.slice();
            assert!(shown.len() <= index || shown[index] == 1);
        });
        let (a, b) = (model.push(2).unwrap(), model.push(3).unwrap());
        let shown = model.slice();
        if (a, b) == (0, 1) {
            assert!(shown.starts_with(&[2, 3]));
        }
        other.join().unwrap();
        assert_eq!(sorted(model.slice()), [1, 2, 3]);
        assert_eq!(model.slice()[a], 2);
    });
}

#[test]
fn storage_grows_under_pushes() {
    loom::model(|| {
        let model = Model::new(0, 4);
        let other = spawn(&model, |model| {
            model.push(1).unwrap();
        });
        model.push(2).unwrap();
        other.join().unwrap();
        assert_eq!(sorted(model.slice()), [1, 2]);
        // Nothing is left that could stop a later push.
        assert_eq!(model.push(3), Ok(2));
        assert_eq!(model.slice().len(), 3);
    });
}

#[test]
fn runs_lie_in_one_piece_beside_pushes() {
    loom::model(|| {
        let model = Model::new(4, 4);
        let other = spawn(&model, |model| {
            let first = model.push_run(&[1, 2]).unwrap();
            assert_eq!([model.get(first), model.get(first + 1)], [Some(1), Some(2)]);
        });
        model.push(3).unwrap();
        let shown = model.slice();
        assert!(
            [&[][..], &[3], &[1, 2], &[1, 2, 3], &[3, 1, 2]].contains(&&shown[..]),
            "{shown:?}"
        );
        other.join().unwrap();
        let shown = model.slice();
        assert!(shown == [1, 2, 3] || shown == [3, 1, 2], "{shown:?}");
    });
}

#[test]
fn runs_grow_storage_and_may_be_refused() {
    loom::model(|| {
        // Room for one of the two, and for the push.
        let model = Model::new(1, 3);
        let other = spawn(&model, |model| _ = model.push_run(&[1, 2]));
        let mine = model.push_run(&[3, 4]);
        other.join().unwrap();
        let shown = model.slice();
        assert!(shown == [1, 2] || shown == [3, 4], "{shown:?}");
        assert_eq!(mine.is_ok(), shown == [3, 4]);
        assert_eq!(model.push(5), Ok(2));
        assert_eq!(model.claims.claimed(), 3);
        assert_eq!(model.push_run(&[6, 7]), Err(()));
        assert_eq!(model.slice().len(), 3);
    });
}

#[test]
fn a_run_that_is_given_back_is_used_again() {
    loom::model(|| {
        let model = Model::new(4, 4);
        let other = spawn(&model, |model| {
            let first = model.claims.claim_run(2, &model.slots).unwrap();
            model.claims.give_back(first..first + 2, &model.slots);
        });
        model.push(1).unwrap();
        other.join().unwrap();
        // Goes into the gap, if there is one.
        model.push(2).unwrap();
        model.push(3).unwrap();
        assert_eq!(sorted(model.slice()), [1, 2, 3]);
        assert_eq!(model.claims.claimed(), 3);
    });
}

#[test]
fn refused_claims_leave_no_holes() {
    loom::model(|| {
        let model = Model::new(1, 1);
        let other = spawn(&model, |model| {
            let _ = model.push(1);
        });
        let mine = model.push(2);
        other.join().unwrap();
        let shown = model.slice();
        assert_eq!(shown.len(), 1, "one of the two was taken");
        assert_eq!(mine.is_ok(), shown == [2]);
        assert_eq!(model.push(3), Err(()));
        model.slots.limit.store(2, Ordering::Relaxed);
        assert_eq!(model.push(4), Ok(1));
        assert_eq!(model.slice()[1], 4);
    });
}

#[test]
fn storage_that_comes_between_refusals() {
    loom::model(|| {
        let model = Model::new(0, 0);
        let other = spawn(&model, |model| {
            let _ = model.push(1);
        });
        model.slots.limit.store(2, Ordering::Relaxed);
        model.push(2).unwrap();
        other.join().unwrap();
        // The next push at the latest repairs everything that was refused.
        model.slots.limit.store(4, Ordering::Relaxed);
        model.push(3).unwrap();
        let shown = sorted(model.slice());
        assert!(shown == [2, 3] || shown == [1, 2, 3], "{shown:?}");
        assert_eq!(model.claims.claimed(), shown.len());
    });
}

#[test]
fn an_index_that_is_given_back_is_used_again() {
    loom::model(|| {
        let model = Model::new(4, 4);
        let other = spawn(&model, |model| {
            let index = model.claims.claim(&model.slots).unwrap();
            model.claims.give_back(index..index + 1, &model.slots);
        });
        model.push(1).unwrap();
        other.join().unwrap();
        model.push(2).unwrap();
        assert_eq!(sorted(model.slice()), [1, 2]);
        assert_eq!(model.claims.claimed(), 2);
    });
}

#[test]
fn storage_made_ahead_is_open_to_all() {
    loom::model(|| {
        let model = Model::new(0, 3);
        let other = spawn(&model, |model| {
            model.slots.grow(2).unwrap();
            model.claims.reopen(&model.slots);
        });
        model.push(1).unwrap();
        other.join().unwrap();
        model.push(2).unwrap();
        assert_eq!(model.slice(), [1, 2]);
    });
}
