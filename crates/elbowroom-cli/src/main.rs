//! The `elbowroom` command: what the library does, shown on this computer.

mod args;
mod bench;
mod compare;
mod demo;
mod doctor;
mod manual;
mod map;
mod meter;
mod os;
mod output;
mod picture;
mod size;
mod stress;
mod watch;

use args::Command;

fn main() {
    let status = match args::parse() {
        Command::Demo(settings) => demo::run(&settings),
        Command::Compare(settings) => compare::run(&settings),
        Command::Bench(settings) => bench::run(&settings),
        Command::Stress(settings) => stress::run(&settings),
        Command::Doctor(settings) => doctor::run(&settings),
        Command::Map(settings) => map::run(&settings),
        Command::Watch(settings) => watch::run(&settings),
        Command::Completions(shell) => manual::completions(shell),
        Command::Man(name) => manual::page(name.as_deref()),
    };
    // Not ExitCode, which is one byte: a Windows error number needs more.
    std::process::exit(status);
}
