//! `elbowroom-stress`: random operations on regions by many threads, checked against a model.

mod block;
mod finding;
mod kinds;
mod model;
mod os;
mod output;
mod owned;
mod rng;
mod run;
mod settings;
mod shared;
mod worker;
mod world;

use clap::Parser;

fn main() {
    std::process::exit(run::run(&settings::Arguments::parse().into()));
}
