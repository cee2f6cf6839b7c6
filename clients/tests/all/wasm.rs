//! wasmtime, with its memories on reservations and on regions. Its compiled code does not check bounds: it relies on a
//! fault behind the memory, and on wasmtime's own handler, which turns the fault into a trap.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use elbowroom::{Region, Reservation, Verdict, fault};
use wasmtime::{
    Config, Engine, Instance, LinearMemory, MemoryCreator, MemoryType, Module, Result, Store, Trap,
};

use super::run_alone;

const PAGE: usize = 64 << 10;

const MODULE: &str = r#"(module
    (memory 1 4)
    (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

/// Commits what a memory grows to.
struct OnReservation {
    block: Reservation,
    size: usize,
    capacity: usize,
}

// SAFETY: `size` bytes from the base are committed, the rest up to the end of the reservation faults; the base stays.
unsafe impl LinearMemory for OnReservation {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, size: usize) -> Result<()> {
        self.block.commit(self.size..size)?;
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.block.as_ptr()
    }
}

/// Commits a page when it is touched, if it lies within the size of the memory.
struct OnRegion {
    region: Region,
    size: Arc<AtomicUsize>,
    capacity: usize,
}

// SAFETY: a touch within `size` bytes from the base commits, any other is declined and so faults; the base stays.
unsafe impl LinearMemory for OnRegion {
    fn byte_size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, size: usize) -> Result<()> {
        self.size.store(size, Ordering::Relaxed);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.region.as_ptr()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Reservation,
    Region,
}

// SAFETY: both memories reserve what is asked for with the guard behind it, and are owned by wasmtime alone.
unsafe impl MemoryCreator for Kind {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.unwrap_or(minimum);
        let len = capacity + guard;
        match self {
            Kind::Reservation => {
                let block = Reservation::new(len).map_err(|error| error.to_string())?;
                block
                    .commit(0..minimum)
                    .map_err(|error| error.to_string())?;
                Ok(Box::new(OnReservation {
                    block,
                    size: minimum,
                    capacity,
                }))
            }
            Kind::Region => {
                let size = Arc::new(AtomicUsize::new(minimum));
                let bound = Arc::clone(&size);
                let region = Region::builder(len)
                    .filter(move |fault| {
                        if fault.offset() < bound.load(Ordering::Relaxed) {
                            Verdict::Commit
                        } else {
                            Verdict::Decline
                        }
                    })
                    .growth(elbowroom::Growth::Pages(1))
                    // A touch out of bounds is a trap, and nothing to report.
                    .report_refusals(false)
                    .build()
                    .map_err(|error| error.to_string())?;
                Ok(Box::new(OnRegion {
                    region,
                    size,
                    capacity,
                }))
            }
        }
    }
}

fn engine(kind: Kind) -> Engine {
    let mut config = Config::new();
    config.with_host_memory(Arc::new(kind));
    Engine::new(&config).unwrap()
}

/// Makes instances, each of which stores, traps and grows.
fn work(engine: &Engine, instances: usize) {
    let module = Module::new(engine, MODULE).unwrap();
    let mut kept = Vec::new();
    for number in 0..instances as i32 {
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let write = instance
            .get_typed_func::<(i32, i32), ()>(&mut store, "store")
            .unwrap();
        let read = instance
            .get_typed_func::<i32, i32>(&mut store, "load")
            .unwrap();
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .unwrap();

        let last = (PAGE - 4) as i32;
        write.call(&mut store, (last, number)).unwrap();
        assert_eq!(read.call(&mut store, last).unwrap(), number);
        let trap = write.call(&mut store, (PAGE as i32, 1)).unwrap_err();
        assert_eq!(
            *trap.downcast_ref::<Trap>().unwrap(),
            Trap::MemoryOutOfBounds
        );
        assert_eq!(grow.call(&mut store, 2).unwrap(), 1);
        write.call(&mut store, (2 * PAGE as i32, number)).unwrap();
        assert_eq!(read.call(&mut store, 2 * PAGE as i32).unwrap(), number);
        assert_eq!(grow.call(&mut store, 2).unwrap(), -1);
        assert!(read.call(&mut store, 3 * PAGE as i32).is_err());
        assert_eq!(read.call(&mut store, last).unwrap(), number);
        if number % 8 == 0 {
            kept.push((store, instance));
        }
    }
}

#[test]
fn memories_on_reservations() {
    // Beside a region, so that the library's handler is installed.
    let region = Region::new(1 << 20).unwrap();
    work(&engine(Kind::Reservation), 1000);
    region.try_write(0, 1u8).unwrap();
}

#[test]
fn memories_on_regions() {
    for order in ["wasmtime_first", "wasmtime_last"] {
        let output = run_alone(&format!("all::wasm::{order}"));
        assert!(output.status.success(), "{order}: {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("elbowroom:"), "{order}: {text}");
    }
}

#[test]
#[ignore = "run by memories_on_regions in a process of its own"]
fn wasmtime_first() {
    // Each memory puts the library's handler in front.
    work(&engine(Kind::Region), 1000);
}

#[test]
#[ignore = "run by memories_on_regions in a process of its own"]
fn wasmtime_last() {
    let region = Region::new(1 << 20).unwrap();
    let engine = engine(Kind::Region);
    fault::reinstall().unwrap();
    work(&engine, 1000);
    region.try_write(0, 1u8).unwrap();
}
