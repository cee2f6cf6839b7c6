//! The fuzz targets: each does a list of operations on a container and on a naive model of it.
//!
//! Each module is a target: an `Input` that `arbitrary` makes from the fuzzer's bytes, and a `run` that panics if
//! container and model differ. `cargo xtask fuzz` runs them all; `cargo test --no-default-features --lib` runs each on
//! bytes from a generator, without a fuzzer.

pub mod append_vec;
pub mod append_vec_threads;
pub mod arena;
pub mod arena_allocator;
pub mod demand_array;
pub mod paged_array;
pub mod region;
pub mod reserved_vec;

mod element;
mod refusal;
mod steps;

#[cfg(test)]
mod tests {
    use arbitrary::{Arbitrary, Unstructured};

    /// Returns inputs that are the same in each run, so that a failure can be reproduced.
    fn inputs<'a, I: Arbitrary<'a>>(
        count: u64,
        bytes: &'a mut Vec<Vec<u8>>,
    ) -> impl Iterator<Item = I> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            // Steele and Vigna's splitmix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        bytes.extend((0..count).map(|_| {
            (0..next() % 200)
                .flat_map(|_| next().to_le_bytes())
                .collect()
        }));
        bytes
            .iter()
            .filter_map(|bytes| I::arbitrary_take_rest(Unstructured::new(bytes)).ok())
    }

    macro_rules! each {
        ($($target:ident: $count:expr;)*) => {$(
            #[test]
            fn $target() {
                let mut bytes = Vec::new();
                let inputs = inputs::<crate::$target::Input>($count, &mut bytes);
                assert!(inputs.map(crate::$target::run).count() > 0, "no input at all");
            }
        )*};
    }

    each! {
        append_vec: 500;
        append_vec_threads: 200;
        arena: 500;
        arena_allocator: 500;
        demand_array: 500;
        paged_array: 100;
        region: 500;
        reserved_vec: 500;
    }
}
