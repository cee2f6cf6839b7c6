//! What happened in the handler, one event a fault: off until a [`Recorder`] is there.

#![allow(
    unsafe_code,
    reason = "shares the recorder's queue with fault handlers"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ring::Ring;
use super::slot::{Pinned, Slot};
use crate::error::{Cause, Reason};
use crate::plain::FaultAccess;

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Pages were committed.
    Committed,
    /// Another thread had just committed the page.
    Raced,
    /// The filter declined, or there was nobody to ask it.
    Declined,
    /// The commit limit or a budget left no room.
    Limited,
    /// The system refused, or it was a touch that no commit can cure.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 5] = [
        Outcome::Committed,
        Outcome::Raced,
        Outcome::Declined,
        Outcome::Limited,
        Outcome::Failed,
    ];

    /// Returns the outcome of a fault that was refused for this cause.
    pub(crate) fn of_refusal(cause: Cause) -> Outcome {
        match cause.reason() {
            Reason::Filter
            | Reason::FilterThreadGone
            | Reason::InOwnFilter
            | Reason::TooManyFilters => Outcome::Declined,
            Reason::Limit | Reason::Budget => Outcome::Limited,
            _ => Outcome::Failed,
        }
    }

    /// Returns whether the touch went on.
    pub fn is_resolved(self) -> bool {
        matches!(self, Outcome::Committed | Outcome::Raced)
    }

    /// Returns one word for the outcome.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Committed => "committed",
            Outcome::Raced => "raced",
            Outcome::Declined => "declined",
            Outcome::Limited => "limited",
            Outcome::Failed => "failed",
        }
    }
}

/// How much of a region's name an event keeps.
const NAME_WORDS: usize = 4;
const NAME_BYTES: usize = NAME_WORDS * 8;

/// A fault in a region, after the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When the handler began with it.
    pub at: Instant,
    /// How long until it was done, filter and all.
    pub duration: Duration,
    /// The system's number of the thread that touched.
    pub thread: u64,
    /// The address of the region's first byte.
    pub region: usize,
    /// The byte that was touched, from there.
    pub offset: usize,
    /// How it was touched.
    pub access: FaultAccess,
    /// What became of it.
    pub outcome: Outcome,
    /// How much was committed for it, in bytes.
    pub committed_bytes: usize,
    /// How much of the region was committed then, in bytes.
    pub region_committed_bytes: usize,
    // Zeros at the end.
    name: [u8; NAME_BYTES],
}

/// An event in the queue.
const WORDS: usize = 9 + NAME_WORDS;

impl Event {
    /// Returns the first 32 bytes of the region's name, or fewer if they end in the middle of a character.
    pub fn region_name(&self) -> &str {
        let len = self
            .name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(NAME_BYTES);
        let name = &self.name[..len];
        match std::str::from_utf8(name) {
            Ok(name) => name,
            // Cut off in the middle of a character.
            Err(error) => std::str::from_utf8(&name[..error.valid_up_to()]).unwrap_or_default(),
        }
    }

    /// An event of the fault that the caller has just been through.
    pub(crate) fn new(at: Instant, duration: Duration, what: What<'_>) -> Event {
        let What {
            thread,
            region,
            offset,
            access,
            outcome,
            committed_bytes,
            region_committed_bytes,
            name,
        } = what;
        let mut kept = [0; NAME_BYTES];
        let len = name.len().min(NAME_BYTES);
        kept[..len].copy_from_slice(&name.as_bytes()[..len]);
        Event {
            at,
            duration,
            thread,
            region,
            offset,
            access,
            outcome,
            committed_bytes,
            region_committed_bytes,
            name: kept,
        }
    }

    fn encode(&self, epoch: Instant) -> [u64; WORDS] {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut words = [0; WORDS];
        words[0] = nanoseconds(self.at.saturating_duration_since(epoch));
        words[1] = nanoseconds(self.duration);
        words[2] = self.thread;
        words[3] = self.region as u64;
        words[4] = self.offset as u64;
        words[5] = self.committed_bytes as u64;
        words[6] = self.access as u64;
        words[7] = self.outcome as u64;
        words[8] = self.region_committed_bytes as u64;
        for (word, bytes) in words[9..].iter_mut().zip(self.name.chunks_exact(8)) {
            // A chunk of eight always fits.
            *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
        }
        words
    }

    fn decode(words: &[u64; WORDS], epoch: Instant) -> Event {
        let mut name = [0; NAME_BYTES];
        for (bytes, word) in name.chunks_exact_mut(8).zip(&words[9..]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let accesses = [FaultAccess::Read, FaultAccess::Write, FaultAccess::Execute];
        Event {
            at: epoch + Duration::from_nanos(words[0]),
            duration: Duration::from_nanos(words[1]),
            thread: words[2],
            region: words[3] as usize,
            offset: words[4] as usize,
            committed_bytes: words[5] as usize,
            region_committed_bytes: words[8] as usize,
            access: accesses
                .into_iter()
                .find(|&access| access as u64 == words[6])
                .unwrap_or(FaultAccess::Read),
            outcome: Outcome::ALL
                .into_iter()
                .find(|&outcome| outcome as u64 == words[7])
                .unwrap_or(Outcome::Failed),
            name,
        }
    }
}

/// What an event tells, but for the time.
pub(crate) struct What<'a> {
    pub(crate) thread: u64,
    pub(crate) region: usize,
    pub(crate) offset: usize,
    pub(crate) access: FaultAccess,
    pub(crate) outcome: Outcome,
    pub(crate) committed_bytes: usize,
    pub(crate) region_committed_bytes: usize,
    pub(crate) name: &'a str,
}

/// A recorder, as fault handlers see it.
pub(crate) struct Tape {
    ring: Ring<WORDS>,
    epoch: Instant,
}

/// The recorder that records, if there is one. Whoever puts an event has it pinned meanwhile.
static TAPE: OnceLock<Slot<Tape>> = OnceLock::new();

/// Whether there is one, or was a moment ago: what a fault looks at when there is none.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Whether a [`Recorder`] lives.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether events are wanted.
pub(crate) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Where to put an event, if it is wanted. Async-signal-safe; not to be kept, as a recorder that ends waits for it.
pub(crate) fn tape() -> Option<Pinned<'static, Tape>> {
    TAPE.get()?.pin()
}

impl Tape {
    pub(crate) fn put(&self, event: &Event) {
        self.ring.push(&event.encode(self.epoch));
    }
}

/// Takes the pins of other threads off in a forked child, where the copy of the recorder starts with an
/// empty queue.
pub(super) fn forget_other_threads() {
    let slot = TAPE.get().filter(|_| IS_ON.load(Ordering::Relaxed));
    if let Some(slot) = slot {
        slot.set_pins(0);
        if let Some(tape) = slot.pin() {
            tape.ring.reset();
        }
    }
}

/// Records every fault in every region of the process, while it lives: an [`Event`] each.
///
/// The events are kept in a queue of fixed size, from which [`events`](Recorder::events) takes them. One that finds no
/// room is lost, and counted.
///
/// Recording costs a fault some 100 ns. Without a recorder it costs the look at one flag.
///
/// ```
/// use elbowroom::{Growth, Region, fault::{Outcome, Recorder}, page_size};
///
/// let recorder = Recorder::start(1000).expect("no other recorder lives");
/// let region = Region::builder(1 << 20).name("log").growth(Growth::Pages(1)).build()?;
/// region.try_write(5 * page_size(), 1u8)?;
///
/// let event = recorder.events().find(|event| event.region_name() == "log").unwrap();
/// assert_eq!((event.offset, event.committed_bytes), (5 * page_size(), page_size()));
/// assert_eq!(event.outcome, Outcome::Committed);
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    // Invariant: a leaked box, in TAPE while the recorder lives; freed when nobody has it pinned any more.
    tape: *mut Tape,
}

// SAFETY: a Tape is shared between threads by nature (asserted below), and the pointer is to it.
unsafe impl Send for Recorder {}
// SAFETY: `&self` gives shared access to the Tape only, which is Sync (asserted below).
unsafe impl Sync for Recorder {}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Tape>();
};

impl Recorder {
    /// Starts to record, with room for `capacity` events (rounded up to a power of two, at most 2^24) of 112 bytes
    /// each. `None` if another recorder lives: there is one in a process at a time.
    pub fn start(capacity: usize) -> Option<Recorder> {
        if IS_TAKEN.swap(true, Ordering::Acquire) {
            return None;
        }
        let tape = Box::into_raw(Box::new(Tape {
            ring: Ring::new(capacity),
            epoch: Instant::now(),
        }));
        // SAFETY: valid until `drop` has emptied the slot and waited for its pins; there is one recorder at a time,
        // and the one before has emptied it.
        unsafe { TAPE.get_or_init(Slot::new).fill(tape) };
        IS_ON.store(true, Ordering::Relaxed);
        Some(Recorder { tape })
    }

    fn tape(&self) -> &Tape {
        // SAFETY: valid while the recorder lives (invariant), and only shared.
        unsafe { &*self.tape }
    }

    /// Takes out the events that there are, from old to new. Those of several threads come in the order in which they
    /// were done, which is not quite that of [`Event::at`]; that of a region with
    /// [`Backend::UserfaultMonitor`](crate::Backend::UserfaultMonitor) may come a moment after its touch has gone on.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let tape = self.tape();
        std::iter::from_fn(|| tape.ring.pop()).map(|words| Event::decode(&words, tape.epoch))
    }

    /// Returns how many events have found no room so far.
    pub fn lost(&self) -> u64 {
        self.tape().ring.lost()
    }

    /// Takes out the events that there are and hands them to the subscriber of the crate `tracing`, with target
    /// `elbowroom::fault`: those of faults that were resolved at level TRACE, the others at DEBUG. How many there were.
    ///
    /// To be called now and then, from ordinary code: a subscriber allocates, and must not run in a fault handler.
    #[cfg(feature = "tracing")]
    pub fn trace(&self) -> usize {
        let trace = |event: Event| {
            macro_rules! emit {
                ($level:ident) => {
                    tracing::event!(
                        target: "elbowroom::fault",
                        tracing::Level::$level,
                        region = event.region_name(),
                        offset = event.offset,
                        access = %event.access,
                        thread = event.thread,
                        committed_bytes = event.committed_bytes,
                        duration_ns = event.duration.as_nanos() as u64,
                        "{}",
                        event.outcome.name(),
                    )
                };
            }
            if event.outcome.is_resolved() {
                emit!(TRACE)
            } else {
                emit!(DEBUG)
            }
        };
        self.events().map(trace).count()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        IS_ON.store(false, Ordering::Relaxed);
        if let Some(slot) = TAPE.get() {
            slot.kill();
            // A handler that is putting an event is done soon.
            while slot.is_pinned() {
                std::thread::yield_now();
            }
        }
        // SAFETY: from a leaked box, freed once; nobody has it pinned, and the slot is empty.
        drop(unsafe { Box::from_raw(self.tape) });
        IS_TAKEN.store(false, Ordering::Release);
    }
}
