//! Records the faults of two regions and writes them as a trace for <https://ui.perfetto.dev> or `chrome://tracing`.
//!
//! `cargo run -p elbowroom-telemetry --example trace -- trace.json`

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use elbowroom::fault::Recorder;
use elbowroom::{Region, page_size};
use elbowroom_telemetry::TraceWriter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("the name of the file to write is missing".into());
    };
    let recorder = Recorder::start(10_000).ok_or("another recorder lives")?;

    let log = Region::builder(1 << 30)
        .name("log, filled in order")
        .build()?;
    let table = Region::builder(1 << 30)
        .name("table, touched here and there")
        .build()?;
    log.try_fill(0..16 << 20, 1)?;
    for n in 0..1000 {
        table.try_write(n * 7919 % (table.len() / page_size()) * page_size(), 1u8)?;
    }

    let mut trace = TraceWriter::new(BufWriter::new(File::create(&path)?))?;
    let mut count = 0;
    for event in recorder.events() {
        trace.add(&event)?;
        count += 1;
    }
    trace.finish()?;
    println!(
        "{count} faults written to {}, {} lost",
        path.display(),
        recorder.lost()
    );
    Ok(())
}
