//! `DemandArray` against a map of the written values: small and vast arrays, elements on page boundaries, atomics, and
//! elements that own memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::Arbitrary;
use bytemuck::Zeroable;
use elbowroom::{Backend, DemandArray, Error, PageState, page_size};

use crate::element::{self, Counted, with_fuse};
use crate::refusal::{self, Limits, Refusal};
use crate::steps::{Step, Steps};

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    kind: Kind,
    is_vast: bool,
    is_on_userfault: bool,
    limits: Limits,
    steps: Steps<Step<Deed>>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Byte,
    Odd,
    Atomic,
    Owner,
    Aligned,
    Nothing,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Get(Place),
    Touch(Place),
    Set(Place, u8),
    Update(Place, u8),
    Slice(Place, u16),
    Fill(Place, u16, u8),
    Clear(Place, u16),
    ClearAll,
}

impl Deed {
    /// Returns the end of the operation's range.
    fn end<T>(&self, len: usize) -> usize {
        match *self {
            Deed::Get(place)
            | Deed::Touch(place)
            | Deed::Set(place, _)
            | Deed::Update(place, _) => place.of(len) + 1,
            Deed::Slice(place, count) | Deed::Fill(place, count, _) | Deed::Clear(place, count) => {
                place.range::<T>(count, len).end
            }
            Deed::ClearAll => len,
        }
    }
}

/// An index near one of a few places that are spread over the array, sometimes past its end.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Place {
    part: u8,
    index: u16,
}

impl Place {
    fn of(self, len: usize) -> usize {
        let part = usize::from(self.part % 9);
        (len / 8 * part).saturating_add(self.index.into())
    }

    /// Returns a range of at most three pages.
    fn range<T>(self, count: u16, len: usize) -> Range<usize> {
        let most = (3 * page_size())
            .checked_div(size_of::<T>())
            .unwrap_or(1000)
            .max(1);
        let start = self.of(len);
        start..start.saturating_add(usize::from(count) % (most + 1))
    }
}

/// An element that the model stores as a byte. The zero element is the byte 0.
trait Element: Zeroable {
    fn make(value: u8) -> Self;
    fn value(&self) -> u8;

    /// Reads an element, without a commit if possible.
    fn get(array: &DemandArray<Self>, index: usize) -> Result<u8, Error> {
        array.touch(index).map(Self::value)
    }
}

impl Element for u8 {
    fn make(value: u8) -> u8 {
        value
    }

    fn value(&self) -> u8 {
        *self
    }

    fn get(array: &DemandArray<u8>, index: usize) -> Result<u8, Error> {
        let before = array.stats();
        let value = array.get(index);
        assert_eq!(array.stats(), before);
        value
    }
}

impl Element for AtomicU64 {
    fn make(value: u8) -> AtomicU64 {
        AtomicU64::new(u64::from_ne_bytes([value; 8]))
    }

    fn value(&self) -> u8 {
        self.load(Ordering::Relaxed).to_ne_bytes()[3]
    }
}

/// An element that sometimes lies on two pages.
struct Odd([u8; 77]);

#[allow(unsafe_code, reason = "zero is a value")]
// SAFETY: the type is an array of bytes, and all zero bytes are a valid value.
unsafe impl Zeroable for Odd {}

impl Element for Odd {
    fn make(value: u8) -> Odd {
        Odd([value; 77])
    }

    fn value(&self) -> u8 {
        assert!(self.0.iter().all(|&byte| byte == self.0[0]), "torn");
        self.0[0]
    }
}

/// An element that owns memory and frees it.
impl Element for Option<Box<(u8, Counted)>> {
    fn make(value: u8) -> Option<Box<(u8, Counted)>> {
        (value > 0).then(|| Box::new((value, Counted::new())))
    }

    fn value(&self) -> u8 {
        self.as_ref().map_or(0, |owned| owned.0)
    }
}

#[repr(align(16384))]
struct Aligned(u8);

#[allow(unsafe_code, reason = "zero is a value")]
// SAFETY: the type is a byte and padding, and all zero bytes are a valid value.
unsafe impl Zeroable for Aligned {}

impl Element for Aligned {
    fn make(value: u8) -> Aligned {
        Aligned(value)
    }

    fn value(&self) -> u8 {
        assert_eq!((&raw const *self).addr() % align_of::<Aligned>(), 0);
        self.0
    }
}

impl Element for () {
    fn make(_: u8) {}

    fn value(&self) -> u8 {
        0
    }
}

/// Values by index, initially zero. They are stored in chunks, few of which are ever written.
#[derive(Default)]
struct Model(BTreeMap<usize, Box<[u8; Model::CHUNK]>>);

impl Model {
    const CHUNK: usize = 1024;

    fn chunks(range: &Range<usize>) -> Range<usize> {
        range.start / Model::CHUNK..range.end.div_ceil(Model::CHUNK)
    }

    fn get(&self, index: usize) -> u8 {
        self.0
            .get(&(index / Model::CHUNK))
            .map_or(0, |chunk| chunk[index % Model::CHUNK])
    }

    fn fill(&mut self, range: Range<usize>, value: u8) {
        if value > 0 {
            Model::chunks(&range)
                .for_each(|chunk| _ = self.0.entry(chunk).or_insert([0; Model::CHUNK].into()));
        }
        for (chunk, values) in self.0.range_mut(Model::chunks(&range)) {
            let inside =
                |index: usize| index.saturating_sub(chunk * Model::CHUNK).min(Model::CHUNK);
            values[inside(range.start)..inside(range.end)].fill(value);
        }
    }

    /// Returns the values that are not zero.
    fn values(&self, range: Range<usize>) -> impl Iterator<Item = (usize, u8)> {
        let values = self
            .0
            .range(Model::chunks(&range))
            .flat_map(|(chunk, values)| (chunk * Model::CHUNK..).zip(**values));
        values.filter(move |(index, value)| range.contains(index) && *value > 0)
    }
}

struct Subject<T> {
    array: DemandArray<T>,
    model: Model,
}

impl<T: Element> Subject<T> {
    /// Does an operation on the array and the model. The model does not change on an error or a panic.
    fn step(&mut self, deed: &Deed) -> Result<(), Error> {
        let len = self.array.len();
        match *deed {
            Deed::Get(place) => assert_eq!(
                T::get(&self.array, place.of(len))?,
                self.model.get(place.of(len))
            ),
            Deed::Touch(place) => {
                assert_eq!(
                    self.array.touch(place.of(len))?.value(),
                    self.model.get(place.of(len))
                );
            }
            Deed::Set(place, value) => {
                self.array.set(place.of(len), T::make(value))?;
                self.model
                    .fill(place.of(len)..place.of(len) + 1, T::make(value).value());
            }
            Deed::Update(place, value) => {
                let old = self.array.update(place.of(len), |element| {
                    std::mem::replace(element, T::make(value))
                })?;
                assert_eq!(old.value(), self.model.get(place.of(len)));
                self.model
                    .fill(place.of(len)..place.of(len) + 1, T::make(value).value());
            }
            Deed::Slice(place, count) => {
                let range = place.range::<T>(count, len);
                let slice = self.array.slice(range.clone())?;
                let found = range
                    .clone()
                    .zip(slice.iter().map(T::value))
                    .filter(|&(_, value)| value > 0);
                assert!(found.eq(self.model.values(range)));
            }
            Deed::Fill(place, count, value) => {
                let range = place.range::<T>(count, len);
                self.array
                    .slice_mut(range.clone())?
                    .iter_mut()
                    .for_each(|element| *element = T::make(value));
                self.model.fill(range, T::make(value).value());
            }
            Deed::Clear(place, count) => self.clear(place.range::<T>(count, len))?,
            Deed::ClearAll => self.clear(0..len)?,
        }
        Ok(())
    }

    fn clear(&mut self, range: Range<usize>) -> Result<(), Error> {
        let cleared = self.array.clear_range(range.clone());
        // Memory that the system does not take back is zero nevertheless.
        if cleared
            .as_ref()
            .err()
            .is_none_or(|error| !error.is_invalid_range())
        {
            self.model.fill(range, 0);
        }
        cleared
    }

    /// Returns the values that are not zero. All of them lie in committed runs.
    fn values(&self) -> impl Iterator<Item = (usize, u8)> {
        let value = |index| (index, self.array.touch(index).expect("committed").value());
        self.array
            .committed_ranges()
            .flatten()
            .map(value)
            .filter(|&(_, value)| value > 0)
    }

    fn check(&self) {
        let stats = self.array.stats();
        let committed = self
            .array
            .spans()
            .into_iter()
            .filter(|span| span.state == PageState::Committed);
        assert_eq!(
            stats.committed_bytes,
            committed.map(|span| span.range.len()).sum::<usize>()
        );
        assert!(stats.committed_bytes <= stats.commit_limit_bytes);
    }
}

fn behaves<T: Element>(input: Input) {
    let budget = input.limits.budget();
    let bytes = if input.is_vast {
        1 << 38
    } else {
        24 * page_size()
    };
    let len = bytes.checked_div(size_of::<T>()).unwrap_or(1000);
    let backend = if input.is_on_userfault {
        Backend::Auto
    } else {
        Backend::Protection
    };
    let builder = input
        .limits
        .apply(DemandArray::<T>::builder(len), &budget)
        .backend(backend);
    let mut subject = Subject {
        array: builder.build().expect("addresses"),
        model: Model::default(),
    };
    for Step {
        deed,
        refusal,
        fuse,
    } in input.steps.0
    {
        let is_inside = deed.end::<T>(len) <= len;
        let plan = refusal.map(Refusal::plan);
        match with_fuse(fuse.unwrap_or(0), || subject.step(&deed)) {
            Some(Ok(())) => assert!(is_inside),
            Some(Err(error)) if !is_inside => assert!(error.is_invalid_range(), "{error}"),
            Some(Err(error)) => refusal::check(&error, plan.as_ref()),
            None => {
                let mut model = Model::default();
                subject
                    .values()
                    .for_each(|(index, value)| model.fill(index..index + 1, value));
                subject.model = model;
                refusal::keep(&budget);
            }
        }
        drop(plan);
        subject.check();
        assert_eq!(
            subject.array.stats().committed_bytes,
            budget.committed_bytes()
        );
    }
    assert!(subject.values().eq(subject.model.values(0..len)));
    drop(subject);
    assert_eq!((element::alive(), budget.committed_bytes()), (0, 0));
}

/// Runs the operations of the input, and panics if container and model differ.
pub fn run(input: Input) {
    match input.kind {
        Kind::Byte => behaves::<u8>(input),
        Kind::Odd => behaves::<Odd>(input),
        Kind::Atomic => behaves::<AtomicU64>(input),
        Kind::Owner => behaves::<Option<Box<(u8, Counted)>>>(input),
        Kind::Aligned => behaves::<Aligned>(input),
        Kind::Nothing => behaves::<()>(input),
    }
}
