//! Containers without a maximum share the address space, and leave half of it to the rest of the process. Each case
//! runs in a separate process with a limit on its addresses.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "sets a limit of the process")]

use crate::common;

use elbowroom::{AppendVec, Arena, ReservedVec, page_size};

fn limit_addresses(bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: setrlimit(2) reads a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

#[test]
fn address_space_is_shared() {
    // An emulator's own addresses count, too.
    if common::is_emulated() {
        return;
    }
    for case in [
        "one_of_each",
        "many_under_8_gib",
        "ten_thousand",
        "ten_thousand_under_8_gib",
        "more_than_a_share",
        "an_error_names_addresses",
    ] {
        let output = common::run_alone(&format!("all::addresses::{case}"));
        assert!(output.status.success(), "{case}: {output:?}");
    }
}

#[test]
#[ignore = "run by address_space_is_shared in a process of its own"]
fn one_of_each() {
    // From large to small: a limit can only be lowered.
    for limit in [8 << 30, 1 << 30, 300 << 20] {
        limit_addresses(limit);
        let mut vec = ReservedVec::new();
        vec.push(1u64);
        let appended = AppendVec::new();
        appended.push(2u64);
        let arena = Arena::new();
        assert_eq!(*arena.alloc(3u64), 3);
        assert!(
            vec.max_len() * 8 >= (limit >> 8) as usize,
            "{}",
            vec.max_len()
        );
        assert!(appended.max_len() * 8 >= (limit >> 8) as usize);
        // Half of the address space stays available.
        let other = Vec::<u8>::new().try_reserve_exact((limit / 4) as usize);
        assert!(other.is_ok());
        drop((vec, appended, arena));
        elbowroom::trim();
    }
}

#[test]
#[ignore = "run by address_space_is_shared in a process of its own"]
fn many_under_8_gib() {
    limit_addresses(8 << 30);
    let mut vecs: Vec<ReservedVec<u8>> = (0..31).map(|_| ReservedVec::new()).collect();
    vecs.iter_mut().for_each(|vec| vec.push(1));
    let arenas: Vec<Arena> = (0..31).map(|_| Arena::new()).collect();
    arenas
        .iter()
        .for_each(|arena| assert_eq!(*arena.alloc(1u8), 1));
    let others = vec![1u8; 64 << 20];
    assert_eq!(others.len(), 64 << 20);
    assert!(Vec::<u8>::new().try_reserve_exact(3 << 30).is_ok());
}

#[test]
#[ignore = "run by address_space_is_shared in a process of its own"]
fn ten_thousand() {
    let mut vecs: Vec<ReservedVec<u64>> = (0..10_000).map(|_| ReservedVec::new()).collect();
    for (n, vec) in vecs.iter_mut().enumerate() {
        vec.push(n as u64);
    }
    assert!(vecs.iter().all(|vec| vec.max_len() >= (32 << 20) / 8));
    assert!(
        vecs.iter()
            .enumerate()
            .all(|(n, vec)| vec[..] == [n as u64])
    );
    // Half of the 47 bits, in pieces.
    let pieces: Vec<_> = (0..960)
        .map(|_| elbowroom::Reservation::new(64 << 30))
        .collect();
    let reserved = pieces.iter().filter(|piece| piece.is_ok()).count();
    assert_eq!(reserved, 960);
    // After the many vectors are dropped, the next one is large again.
    drop((vecs, pieces));
    elbowroom::trim();
    let mut vec = ReservedVec::new();
    vec.push(1u8);
    assert_eq!(vec.max_len(), 64 << 30);
}

#[test]
#[ignore = "run by address_space_is_shared in a process of its own"]
fn ten_thousand_under_8_gib() {
    limit_addresses(8 << 30);
    let mut vecs: Vec<ReservedVec<u8>> = (0..10_000).map(|_| ReservedVec::new()).collect();
    vecs.iter_mut().for_each(|vec| vec.push(1));
    assert!(vecs.iter().all(|vec| vec.max_len() >= page_size()));
    // The last ones have a page or two. What needs more at once gets twice as much.
    let mut last = ReservedVec::<u8>::new();
    last.reserve(1 << 20);
    assert!(last.max_len() >= 2 << 20);
    // With pages of 64 KiB, ten thousand of them take more than is left of half.
    let left = (4 << 30) - 10_000 * page_size();
    assert!(Vec::<u8>::new().try_reserve_exact(left).is_ok());
}

#[test]
#[ignore = "run by address_space_is_shared in a process of its own"]
fn more_than_a_share() {
    limit_addresses(2 << 30);
    let mut vec = ReservedVec::<u8>::new();
    // Much more than a sixteenth of a half.
    vec.reserve(300 << 20);
    assert!(vec.max_len() >= 300 << 20);
    let arena = Arena::new();
    let layout = std::alloc::Layout::from_size_align(200 << 20, 1).unwrap();
    assert_eq!(arena.alloc_layout(layout).len(), 200 << 20);
}

#[test]
#[ignore = "run by address_space_is_shared in a process of its own"]
fn an_error_names_addresses() {
    limit_addresses(300 << 20);
    let text = |error: elbowroom::Error| {
        assert!(error.is_out_of_memory(), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("address space") && text.contains("RLIMIT_AS"),
            "{text}"
        );
    };
    text(ReservedVec::<u8>::new().try_reserve(1 << 30).unwrap_err());
    let layout = std::alloc::Layout::from_size_align(1 << 30, page_size()).unwrap();
    text(
        Arena::new()
            .try_alloc_layout(layout)
            .map(drop_block)
            .unwrap_err(),
    );
    let told = AppendVec::<u8>::builder(1 << 40).build().map(drop);
    text(told.unwrap_err());
}

fn drop_block(_: &mut [std::mem::MaybeUninit<u8>]) {}
