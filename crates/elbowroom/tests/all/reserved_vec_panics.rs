//! Panics in the program's own code while `ReservedVec` calls it: no element is dropped twice or accessed after its
//! drop, and no element leaks that `Vec` would keep.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use elbowroom::ReservedVec;

/// The state that all elements of a test share.
#[derive(Clone, Default)]
struct World(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    // The number of times that each element was made and dropped.
    made: Vec<u32>,
    dropped: Vec<u32>,
    // Panics after this many more calls of any kind: drops, clones, comparisons, closures.
    fuse: Option<u32>,
}

impl World {
    fn element(&self, value: u32) -> Element {
        let mut state = self.0.borrow_mut();
        state.made.push(1);
        state.dropped.push(0);
        Element {
            world: self.clone(),
            number: state.made.len() - 1,
            value,
        }
    }

    fn vec(&self, len: u32) -> ReservedVec<Element> {
        let mut vec = ReservedVec::with_max_len(100);
        vec.extend((0..len).map(|value| self.element(value)));
        vec
    }

    /// Panics if the fuse has burnt down.
    fn tick(&self) {
        let mut state = self.0.borrow_mut();
        let is_time = state.fuse == Some(0);
        state.fuse = state.fuse.and_then(|fuse| fuse.checked_sub(1));
        drop(state);
        // Two panics at once would end the process, in a `Vec` as well.
        if is_time && !std::thread::panicking() {
            std::panic::panic_any("time");
        }
    }

    /// Returns the number of elements that were made and not dropped.
    fn alive(&self) -> usize {
        let state = self.0.borrow();
        assert!(
            state.dropped.iter().all(|&times| times <= 1),
            "dropped twice"
        );
        state.dropped.iter().filter(|&&times| times == 0).count()
    }
}

struct Element {
    world: World,
    number: usize,
    value: u32,
}

impl Element {
    fn check(&self) {
        assert_eq!(
            self.world.0.borrow().dropped[self.number],
            0,
            "used after its drop"
        );
    }
}

impl Clone for Element {
    fn clone(&self) -> Element {
        self.check();
        self.world.tick();
        self.world.element(self.value)
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        self.check();
        other.check();
        self.world.tick();
        self.value == other.value
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        self.world.0.borrow_mut().dropped[self.number] += 1;
        self.world.tick();
    }
}

type Deed = fn(&World, &mut ReservedVec<Element>);

/// An iterator of `count` new elements that may panic, and announces the length `hint`.
struct Source {
    world: World,
    left: u32,
    hint: usize,
}

impl Iterator for Source {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        self.world.tick();
        self.left = self.left.checked_sub(1)?;
        Some(self.world.element(self.left))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.hint, None)
    }
}

fn source(world: &World, left: u32, hint: usize) -> Source {
    Source {
        world: world.clone(),
        left,
        hint,
    }
}

/// The operations, each tried with a panic at every call of the program's code.
const DEEDS: &[(&str, Deed)] = &[
    ("truncate", |_, vec| vec.truncate(3)),
    ("clear", |_, vec| vec.clear()),
    ("push and pop", |world, vec| {
        vec.push(world.element(1));
        drop(vec.pop());
    }),
    ("insert and remove", |world, vec| {
        vec.insert(3, world.element(1));
        drop(vec.remove(2));
        drop(vec.swap_remove(1));
    }),
    ("pop_if", |world, vec| {
        vec.pop_if(|_| {
            world.tick();
            true
        });
    }),
    ("resize", |world, vec| vec.resize(15, world.element(1))),
    ("resize down", |world, vec| vec.resize(4, world.element(1))),
    ("resize_with", |world, vec| {
        vec.resize_with(15, || {
            world.tick();
            world.element(3)
        });
    }),
    ("extend", |world, vec| vec.extend(source(world, 5, 0))),
    ("extend with a hint", |world, vec| {
        vec.extend(source(world, 5, 5))
    }),
    ("try_extend", |world, vec| {
        vec.try_extend(source(world, 5, 3)).unwrap()
    }),
    ("try_extend beyond the end", |world, vec| {
        assert!(vec.try_extend(source(world, 95, 3)).is_err())
    }),
    ("extend_from_slice", |world, vec| {
        let other = world.vec(4);
        vec.extend_from_slice(&other);
    }),
    ("extend_from_within", |_, vec| vec.extend_from_within(2..6)),
    ("clone", |_, vec| drop(vec.clone())),
    ("clone_from", |world, vec| {
        let other = world.vec(4);
        vec.clone_from(&other);
    }),
    ("retain", |world, vec| {
        vec.retain(|element| {
            element.check();
            world.tick();
            element.value % 3 == 0
        });
    }),
    ("dedup", |_, vec| {
        vec.iter_mut().for_each(|element| element.value /= 3);
        vec.dedup();
    }),
    ("extract_if", |world, vec| {
        let extracted: Vec<Element> = vec
            .extract_if(2..9, |element| {
                element.check();
                world.tick();
                element.value % 2 == 0
            })
            .collect();
        drop(extracted);
    }),
    ("drain", |world, vec| {
        let mut drain = vec.drain(2..8);
        drop(drain.next());
        world.tick();
        drop(drain.next_back());
    }),
    ("drain all", |_, vec| drop(vec.drain(..))),
    ("splice with fewer", |world, vec| {
        drop(vec.splice(2..8, source(world, 3, 0)))
    }),
    ("splice with more", |world, vec| {
        drop(vec.splice(2..4, source(world, 9, 0)))
    }),
    ("splice with announced more", |world, vec| {
        drop(vec.splice(2..4, source(world, 9, 4)))
    }),
    ("splice without room", |world, vec| {
        let spliced = catch_unwind(AssertUnwindSafe(|| {
            drop(vec.splice(2..4, source(world, 99, 0)))
        }));
        assert!(spliced.is_err());
    }),
    ("try_splice", |world, vec| {
        drop(vec.try_splice(2..4, source(world, 9, 4)).unwrap())
    }),
    ("try_splice without room", |world, vec| {
        assert!(vec.try_splice(2..4, source(world, 99, 0)).is_err())
    }),
    ("split_off", |_, vec| drop(vec.split_off(5))),
    ("append", |world, vec| vec.append(&mut world.vec(5))),
    ("into_iter", |_, vec| {
        let mut elements = std::mem::take(vec).into_iter();
        drop(elements.next());
        drop(elements.next_back());
    }),
    ("via Vec", |_, vec| {
        *vec = ReservedVec::from(Vec::from(std::mem::take(vec)))
    }),
    ("from a slice", |_, vec| drop(ReservedVec::from(&vec[..5]))),
    ("drop", |_, vec| drop(std::mem::take(vec))),
];

#[test]
fn nothing_is_dropped_twice_or_lost() {
    // The panics are caught here and need not be printed.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"time") {
            hook(info);
        }
    }));
    for &(name, deed) in DEEDS {
        for fuse in 0.. {
            let world = World::default();
            let mut vec = world.vec(10);
            world.0.borrow_mut().fuse = Some(fuse);
            let result = catch_unwind(AssertUnwindSafe(|| deed(&world, &mut vec)));
            let has_burnt = world.0.borrow().fuse.is_none();
            world.0.borrow_mut().fuse = None;
            // The vector is usable, and holds live elements only.
            vec.iter().for_each(Element::check);
            vec.truncate(99);
            vec.push(world.element(77));
            assert_eq!(vec.last().map(|element| element.value), Some(77));
            // Every other panic continues.
            if let Err(panic) = result {
                assert!(panic.downcast_ref() == Some(&"time"), "{name} at {fuse}");
            }
            let owned = vec.len();
            assert_eq!(world.alive(), owned, "{name} at {fuse}: elements leaked");
            drop(vec);
            assert_eq!(world.alive(), 0, "{name} at {fuse}");
            if !has_burnt {
                break;
            }
            assert!(fuse < 10_000, "{name} comes to an end");
        }
    }
}
