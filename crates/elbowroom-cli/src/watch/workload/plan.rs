//! The workloads: which regions there are, and which threads touch their pages in which order.

use std::time::Duration;

use elbowroom::page_size;

use super::paged::{self, Paged};
use super::settings::Settings;
use super::stage::{Batch, Stage};
use crate::args::Workload;

/// Starts a workload.
///
/// # Errors
/// Fails if the system refuses a region, a file or a thread.
pub(super) fn start(settings: Settings, is_paused: bool, speed: i32) -> Result<Stage, String> {
    let mut stage = Stage::new(settings, is_paused, speed);
    fill(&mut stage, settings.workload)?;
    Ok(stage)
}

/// Makes the regions, and starts the threads.
fn fill(stage: &mut Stage, workload: Workload) -> Result<(), String> {
    let milliseconds = Duration::from_millis;
    match workload {
        Workload::Seed => {
            let region = stage.region("seed", 80, None)?;
            stage.touch("writer", region, 0..80, Batch(1, milliseconds(200)))
        }
        Workload::Sequential => {
            let pages = pages_of(32 << 20);
            let region = stage.region("log", pages, None)?;
            stage.touch(
                "writer",
                region,
                0..pages,
                Batch::within(SOME_SECONDS, 4, pages),
            )
        }
        Workload::Random => {
            let pages = pages_of(256 << 20);
            let region = stage.region("sparse", pages, None)?;
            let touches = scattered(pages).take(pages / 32);
            let batch = Batch::within(SOME_SECONDS, 1, pages / 32);
            stage.touch("writer", region, touches, batch)
        }
        // Each of the three workers is refused by a different budget.
        Workload::Budget => {
            let machine = stage.budget("machine", 240, None);
            let team = stage.budget("team", 160, Some(machine));
            let alpha = stage.budget("alpha", 96, Some(team));
            for (name, budget, nap) in [
                ("alpha", alpha, 60),
                ("beta", team, 100),
                ("gamma", machine, 140),
            ] {
                let region = stage.region(name, 128, Some(budget))?;
                stage.touch(name, region, 0..128, Batch(1, milliseconds(nap)))?;
            }
            Ok(())
        }
        Workload::Threads => {
            let names = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th"];
            let part = pages_of(16 << 20) / names.len();
            let region = stage.region("shared", names.len() * part, None)?;
            for (at, name) in names.into_iter().enumerate() {
                // Each thread has its own pace.
                let time = SOME_SECONDS / 2 + Duration::from_secs(2 * at as u64);
                let pages = at * part..(at + 1) * part;
                stage.touch(name, region, pages, Batch::within(time, 2, part))?;
            }
            Ok(())
        }
        // A writer goes through all chunks. One thread reads everywhere, and one a small part.
        Workload::Paged => {
            stage.array()?;
            let batch = |touches| Batch::within(SOME_SECONDS, 1, touches);
            let (chunks, len) = (paged::LEN / paged::CHUNK, paged::LEN);
            stage.access("writer", 0..chunks, batch(chunks), Paged::fill)?;
            let everywhere = scattered(len).take(400);
            stage.access("scattered", everywhere, batch(400), Paged::get)?;
            let near = scattered(len / 64).map(|at| paged::LEN / 2 + at);
            stage.access("near", near.take(2000), batch(2000), Paged::get)
        }
    }
}

/// The duration of a workload.
const SOME_SECONDS: Duration = Duration::from_secs(20);

/// Returns the number of pages of `bytes`. The memory is really used, so larger pages do not mean more memory.
fn pages_of(bytes: usize) -> usize {
    (bytes / page_size()).max(64)
}

/// Returns numbers below `end` in random order, the same in each run.
fn scattered(end: usize) -> impl Iterator<Item = usize> + Send {
    // A linear congruential generator. Its high bits are random.
    let next = |state: &u64| {
        let product = state.wrapping_mul(6_364_136_223_846_793_005);
        Some(product.wrapping_add(1_442_695_040_888_963_407))
    };
    let states = std::iter::successors(next(&1), next);
    states.map(move |state| (state >> 33) as usize % end)
}
