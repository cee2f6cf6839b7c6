//! The `elbowroom` command: what the library does, shown on this computer.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic))]

mod args;
mod bench;
mod compare;
mod demo;
mod doctor;
mod findings;
mod manual;
mod map;
mod meter;
mod os;
mod output;
mod page;
mod picture;
mod progress;
mod size;
mod usage;
mod watch;

use args::Command;

fn main() {
    let result = match args::parse() {
        Command::Demo(settings) => Ok(demo::run(&settings)),
        Command::Compare(settings) => compare::run(&settings),
        Command::Bench(settings) => bench::run(&settings),
        Command::Doctor(settings) => doctor::run(&settings),
        Command::Map(settings) => map::run(&settings),
        Command::Watch(settings) => watch::run(&settings),
        Command::Page(settings) => page::run(&settings.command),
        Command::Completions(settings) => manual::completions(settings.shell),
        Command::Man(settings) => manual::page(&settings.command),
    };
    let status = result.unwrap_or_else(|message| {
        output::complain(message);
        1
    });
    // Not ExitCode, which is one byte: a Windows error number needs more.
    std::process::exit(status);
}
