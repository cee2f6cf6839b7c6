//! A fault that ends a process must end it as without this library. Each case is a child process: this program again
//! with ROLE set, which causes the fault on the real main thread, without a test harness in between.

#![allow(unsafe_code, reason = "wild pointers are the point")]

mod common;

use std::hint::black_box;
use std::process::ExitCode;

use common::run;
use elbowroom::{Growth, Region, Size, Verdict, page_size};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if let Ok(role) = std::env::var("ROLE") {
        act(&role);
        // The process survived if it gets here.
        println!("survived");
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        trial("a_wild_pointer_crashes_as_before", || {
            same_end("wild alone", "wild beside a region")
        }),
        trial("a_wild_pointer_on_a_thread_crashes_as_before", || {
            same_end("wild thread alone", "wild thread beside")
        }),
        trial("a_null_call_crashes_as_before", || {
            same_end("call alone", "call beside a region")
        }),
        trial("a_stack_overflow_on_main_keeps_its_message", || {
            same_end("overflow main", "overflow main beside")
        }),
        trial("a_stack_overflow_on_a_thread_keeps_its_message", || {
            same_end("overflow thread", "overflow thread beside")
        }),
        trial("a_touch_after_release_is_a_wild_pointer", || {
            same_end("wild alone", "after release")
        }),
        trial(
            "a_declined_plain_store_is_reported_and_crashes",
            declined_store,
        ),
        trial(
            "a_plain_store_over_the_limit_is_reported_and_crashes",
            limit_store,
        ),
        trial(
            "a_plain_load_past_the_end_is_reported_and_crashes",
            past_end_load,
        ),
        trial("running_data_is_reported_and_crashes", run_data),
        trial(
            "a_panicking_filter_aborts_with_its_message",
            panicking_filter,
        ),
        trial("an_endless_filter_recursion_crashes", || {
            let output = run("filter overflow");
            expect(!survived(&output), "it must not survive", &output)?;
            // On Windows a filter runs on the thread's stack, and the system or std reports.
            let is_told = message(&output).contains("elbowroom: a filter has overrun its stack");
            expect(is_told || cfg!(windows), "it must say so", &output)
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::test(name, test)
}

fn expect(holds: bool, what: &str, output: &std::process::Output) -> Result<(), Failed> {
    if holds {
        Ok(())
    } else {
        Err(format!("{what}: {output:?}").into())
    }
}

/// Returns whether the role came to its end. (The exit status does not tell: under Wine, a stack overflow of the main
/// thread ends a process with status 0.)
fn survived(output: &std::process::Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("survived")
}

/// Returns std's message on standard error, without the number of the thread.
fn message(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let without_numbers = text.chars().filter(|letter| !letter.is_ascii_digit());
    without_numbers.collect()
}

/// Checks that both roles die in the same way and with the same words.
fn same_end(alone: &str, beside: &str) -> Result<(), Failed> {
    let (alone, beside) = (run(alone), run(beside));
    expect(!survived(&alone), "the role must crash", &alone)?;
    expect(!survived(&beside), "the role must crash", &beside)?;
    expect(
        alone.status == beside.status,
        &format!("not as {alone:?}"),
        &beside,
    )?;
    expect(
        message(&alone) == message(&beside),
        &format!("not as {alone:?}"),
        &beside,
    )?;
    expect(
        !message(&beside).contains("elbowroom:"),
        "it is not ours to report",
        &beside,
    )
}

/// Checks that the role dies as a wild pointer does, with a line of ours that contains all these words.
fn reported(role: &str, words: &[&str]) -> Result<(), Failed> {
    let (wild, output) = (run("wild alone"), run(role));
    expect(
        wild.status == output.status,
        &format!("not as {wild:?}"),
        &output,
    )?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find(|line| line.starts_with("elbowroom: "))
        .unwrap_or_default();
    for word in words {
        expect(
            line.contains(word),
            &format!("the line lacks {word:?}"),
            &output,
        )?;
    }
    Ok(())
}

fn declined_store() -> Result<(), Failed> {
    let offset = format!("byte {} of region \"tenant 7\"", 3 * page_size() + 9);
    reported(
        "declined store",
        &["write at 0x", &offset, "filter declined"],
    )
}

fn limit_store() -> Result<(), Failed> {
    let limit = format!("commit limit of {:#}", Size(2 * page_size() as u64));
    reported("limit store", &["write at 0x", "region \"\"", &limit])
}

fn past_end_load() -> Result<(), Failed> {
    let offset = format!("byte {} of", 4 * page_size());
    reported("past the end", &["read at 0x", &offset, "not inside"])
}

fn run_data() -> Result<(), Failed> {
    reported("run data", &["execute at 0x", "protection forbids"])
}

fn panicking_filter() -> Result<(), Failed> {
    let (abort, output) = (run("abort"), run("panicking filter"));
    expect(abort.status == output.status, "it must abort", &output)?;
    let text = String::from_utf8_lossy(&output.stderr);
    expect(
        text.contains("the filter's own words"),
        "the panic's message",
        &output,
    )?;
    expect(
        text.contains("elbowroom: a filter panicked"),
        "our message",
        &output,
    )
}

fn act(role: &str) {
    match role {
        "wild alone" => wild(),
        "wild beside a region" => {
            let _region = live_region();
            wild();
        }
        "wild thread alone" => std::thread::spawn(wild).join().unwrap(),
        "wild thread beside" => {
            let _region = live_region();
            std::thread::spawn(wild).join().unwrap();
        }
        "call alone" => call_null(),
        "call beside a region" => {
            let _region = live_region();
            call_null();
        }
        "overflow main" => overflow(),
        "overflow main beside" => {
            let _region = live_region();
            overflow();
        }
        "overflow thread" => std::thread::spawn(overflow).join().unwrap(),
        "overflow thread beside" => {
            let _region = live_region();
            std::thread::spawn(overflow).join().unwrap();
        }
        "after release" => {
            let region = live_region();
            let address = region.as_ptr();
            region.release().unwrap();
            // SAFETY: none; the crash is what is tested.
            unsafe { address.write_volatile(1) };
        }
        "declined store" => {
            let region = Region::builder(10 * page_size())
                .name("tenant 7")
                .filter(|_| Verdict::Decline)
                .build()
                .unwrap();
            // SAFETY: inside the region; the crash is what is tested.
            unsafe {
                region
                    .as_ptr()
                    .wrapping_add(3 * page_size() + 9)
                    .write_volatile(1)
            };
        }
        "limit store" => {
            let limit = 2 * page_size();
            let region = Region::builder(10 * page_size())
                .commit_limit(limit)
                .build()
                .unwrap();
            for offset in 0..region.len() {
                // SAFETY: inside the region; the crash at the limit is what is tested.
                unsafe { region.as_ptr().wrapping_add(offset).write_volatile(1) };
            }
        }
        "past the end" => {
            let region = Region::new(4 * page_size()).unwrap();
            for offset in 0.. {
                // SAFETY: inside the region until its guard page; the crash there is what is tested.
                unsafe { region.as_ptr().wrapping_add(offset).read_volatile() };
            }
        }
        "run data" => {
            let region = live_region();
            // SAFETY: none; the crash is what is tested.
            let function: extern "C" fn() = unsafe { std::mem::transmute(region.as_ptr()) };
            function();
        }
        "panicking filter" => {
            let region = Region::builder(1)
                .filter(|_| panic!("the filter's own words"))
                .build()
                .unwrap();
            let _ = region.try_write(0, 1u8);
        }
        "filter overflow" => {
            let region = Region::builder(1).growth(Growth::Pages(1)).filter(|_| {
                overflow();
                Verdict::Commit
            });
            let _ = region.build().unwrap().try_write(0, 1u8);
        }
        "abort" => std::process::abort(),
        role => panic!("no role {role}"),
    }
}

/// A region that has committed a page, so that the handler is installed and has worked.
fn live_region() -> Region {
    let region = Region::new(10 * page_size()).unwrap();
    region.try_write(0, 1u8).unwrap();
    region
}

fn wild() {
    // An address that is never mapped and in no region.
    let address = black_box(std::ptr::without_provenance_mut::<u8>(0x10));
    // SAFETY: none; the crash is what is tested.
    unsafe { address.write_volatile(1) };
}

fn call_null() {
    let address = black_box(std::ptr::without_provenance::<()>(0x10));
    // SAFETY: none; the crash is what is tested.
    let function: extern "C" fn() = unsafe { std::mem::transmute(address) };
    function();
}

fn overflow() {
    #[inline(never)]
    fn deeper(depth: u64) -> u64 {
        let page = black_box([depth; 128]);
        if depth == u64::MAX {
            0
        } else {
            black_box(deeper(depth + 1)) + page[7]
        }
    }
    black_box(deeper(0));
}
